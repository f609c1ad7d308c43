from __future__ import annotations

import numpy as np
import pytest

from ccmusic.training.genre_measures import System


def test_a_system_is_measured_over_all_folds_together_and_in_each() -> None:
    # fold 0: one of two right; fold 1: two of two right
    reference, estimated, fold = np.array([0, 1, 2, 3]), np.array([0, 2, 2, 3]), np.array([0, 0, 1, 1])
    system = System.measured("any", reference, np.eye(16)[estimated], fold)
    assert system.pooled["top1_16"] == 0.75
    assert [measures["top1_16"] for measures in system.folds] == [0.5, 1.0]
    assert system.spread("top1_16") == "0.750 ± 0.354 (0.750)"


def test_a_single_fold_has_no_deviation() -> None:
    system = System.measured("any", np.array([0]), np.eye(16)[[0]], np.array([4]))
    assert system.spread("top1_16") == "1.000 ± 0.000 (1.000)"
    assert system.pooled["ece_16"] == pytest.approx(0)
