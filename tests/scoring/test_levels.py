from __future__ import annotations

import numpy as np

from ccmusic.genres import LABELS
from ccmusic.scoring.levels import level_accuracy, scores_by_level


def test_an_answer_within_the_right_group_is_right_at_the_coarser_levels() -> None:
    soft_rock, acoustic, dance = (LABELS.index(label) for label in ("Soft_rock", "Acoustic_pop", "Dance_pop"))
    reference, probabilities = np.array([soft_rock, dance]), np.eye(16)[[acoustic, dance]]
    measured = scores_by_level(reference, probabilities)
    assert measured["top1_16"] == 0.5
    assert measured["top1_9"] == 1.0
    assert measured["top1_2"] == 1.0
    assert [level_accuracy(reference, probabilities, level) for level in (16, 9, 2)] == [0.5, 1.0, 1.0]
