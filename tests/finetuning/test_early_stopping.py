from __future__ import annotations

import numpy as np
import pytest

from ccmusic.finetuning.early_stopping import EarlyStopping, balanced_log_loss
from ccmusic.finetuning.plan import Plan


def test_stops_when_the_patience_is_used_up() -> None:
    plan = Plan(epochs=50, patience=3)
    assert not EarlyStopping([1.0, 0.5, 0.6, 0.5]).is_over(plan)
    stopping = EarlyStopping([1.0, 0.5, 0.6, 0.5, 0.7])
    assert stopping.is_over(plan)
    assert (stopping.epochs, stopping.best, stopping.is_best) == (4, 1, False)


def test_stops_at_the_limit_of_epochs() -> None:
    stopping = EarlyStopping([1.0, 0.9, 0.8])
    assert stopping.is_over(Plan(epochs=2))
    assert not stopping.is_over(Plan(epochs=3))
    assert stopping.is_best


def test_best_is_0_when_no_epoch_lowers_the_loss() -> None:
    assert EarlyStopping([0.1, 0.2, 0.3]).best == 0


def test_a_rare_class_counts_as_much_as_a_common_one() -> None:
    probabilities = np.array([[0.5, 0.5]] * 3 + [[0.75, 0.25]])
    expected = (np.log(2) + np.log(4)) / 2
    assert balanced_log_loss(np.array([0, 0, 0, 1]), probabilities) == pytest.approx(expected)
