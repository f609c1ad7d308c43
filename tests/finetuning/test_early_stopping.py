from __future__ import annotations

import numpy as np
import pytest

from ccmusic.finetuning.early_stopping import EarlyStopping, balanced_log_loss
from ccmusic.finetuning.plan import Plan


def test_enough_after_the_patience_without_a_gain() -> None:
    plan = Plan(epochs=50, patience=3)
    assert not EarlyStopping([1.0, 0.5, 0.6, 0.5]).is_over(plan)
    course = EarlyStopping([1.0, 0.5, 0.6, 0.5, 0.7])
    assert course.is_over(plan)
    assert (course.passes, course.best, course.is_best) == (4, 1, False)


def test_enough_after_so_many_passes() -> None:
    course = EarlyStopping([1.0, 0.9, 0.8])
    assert course.is_over(Plan(epochs=2))
    assert not course.is_over(Plan(epochs=3))
    assert course.is_best


def test_no_pass_made_it_better() -> None:
    assert EarlyStopping([0.1, 0.2, 0.3]).best == 0


def test_a_rare_class_counts_as_much_as_a_common_one() -> None:
    probabilities = np.array([[0.5, 0.5]] * 3 + [[0.75, 0.25]])
    expected = (np.log(2) + np.log(4)) / 2
    assert balanced_log_loss(np.array([0, 0, 0, 1]), probabilities) == pytest.approx(expected)
