from __future__ import annotations

import numpy as np
import pytest

from ccmusic.genres import LABELS
from ccmusic.scoring.thresholds import shortest_trusted, sure_thresholds, uncertain_threshold


def test_the_threshold_is_the_lowest_with_enough_right_answers() -> None:
    top = np.array([0.9, 0.8, 0.7, 0.5, 0.4, 0.3])
    probabilities = np.column_stack([top, 1 - top])
    probabilities[top < 0.5] = np.column_stack([1 - top[top < 0.5] - 0.2, top[top < 0.5] + 0.2])
    reference = np.array([0, 0, 0, 1, 1, 1])
    reference[4:] = 0
    found = uncertain_threshold(reference, probabilities, precision=0.75)
    passed = probabilities.max(axis=1) >= found["uncertain_below"]
    right = probabilities.argmax(axis=1) == reference
    assert right[passed].mean() >= 0.75
    assert found["coverage"] == pytest.approx(passed.mean(), abs=1e-3)
    lower = probabilities.max(axis=1) >= found["uncertain_below"] - 0.01
    assert right[lower].mean() < 0.75


def test_each_level_has_the_lowest_threshold_with_enough_right_answers() -> None:
    # the leaf is right from 0.8 on; the group of level 9 is always right, since it has the rest of the probability too
    soft_rock, acoustic, dance = (LABELS.index(label) for label in ("Soft_rock", "Acoustic_pop", "Dance_pop"))
    top = np.array([0.9, 0.8, 0.7, 0.65, 0.6, 0.55, 0.52, 0.51])
    probabilities = np.zeros((8, 16))
    probabilities[:, soft_rock], probabilities[:, acoustic] = top, 1 - top
    reference = np.where(top >= 0.8, soft_rock, acoustic)
    found = sure_thresholds(reference, probabilities)
    assert found[16] == {"threshold": 0.71, "precision": 1.0, "coverage": 0.25}
    assert found[9] == {"threshold": 0.7, "precision": 1.0, "coverage": 1.0}
    assert sure_thresholds(np.full(8, dance), probabilities)[16] == {
        "threshold": 1.0,
        "precision": 0.0,
        "coverage": 0.0,
    }


def test_shortest_trusted_length() -> None:
    reference = np.zeros(20, dtype=int)

    def right(count: int) -> np.ndarray:
        return np.eye(16)[np.where(np.arange(20) < count, 0, 1)][:, None]

    assert shortest_trusted(reference, {1.0: right(7), 3.0: right(9), 30.0: right(10)}) == 3.0
    assert shortest_trusted(reference, {1.0: right(9), 3.0: right(9), 30.0: right(10)}) == 1.0
