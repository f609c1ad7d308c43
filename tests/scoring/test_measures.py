from __future__ import annotations

import numpy as np
import pytest

from ccmusic.scoring.measures import measure


def test_measures_of_a_known_case() -> None:
    # references a, a, b, b; answers a, b, b, b; the second answer has the flag uncertain
    probabilities = np.array([[0.9, 0.1, 0], [0.4, 0.6, 0], [0.2, 0.8, 0], [0.3, 0.7, 0]])
    measured = measure(
        np.array([0, 0, 1, 1]), probabilities, np.array([False, True, False, False]), ("a", "b", "never")
    )
    assert measured.top1 == 0.75
    assert measured.top5 is None
    assert measured.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert (measured.coverage, measured.precision) == (0.75, 1.0)
    a, b, never = measured.classes
    assert (a.support, a.precision, a.recall, a.f1) == (2, 1.0, 0.5, pytest.approx(2 / 3))
    assert (b.support, b.precision, b.recall, b.f1) == (2, pytest.approx(2 / 3), 1.0, pytest.approx(0.8))
    assert (never.support, never.precision, never.recall, never.f1) == (0, None, None, None)
    assert measured.as_json()["classes"][0]["f1"] == 0.6667


def test_top5_is_measured_with_more_than_five_labels() -> None:
    probabilities = np.tile(np.arange(8.0), (2, 1)) / 28
    measured = measure(np.array([3, 2]), probabilities, np.zeros(2, dtype=bool), tuple("abcdefgh"))
    assert measured.top5 == 0.5


def test_precision_is_none_when_every_answer_is_uncertain() -> None:
    measured = measure(np.array([0]), np.array([[1.0, 0]]), np.array([True]), ("a", "b"))
    assert (measured.coverage, measured.precision) == (0.0, None)
