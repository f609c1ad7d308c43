from __future__ import annotations

import numpy as np
import pytest

from ccmusic.scoring.classification import f1_by_class
from ccmusic.scoring.comparison import measure, paired_bootstrap


def test_measures_of_a_known_case() -> None:
    # references a a b b; answers a b b b; the second answer carries the flag
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


def test_top5_where_it_says_something() -> None:
    probabilities = np.tile(np.arange(8.0), (2, 1)) / 28
    measured = measure(np.array([3, 2]), probabilities, np.zeros(2, dtype=bool), tuple("abcdefgh"))
    assert measured.top5 == 0.5


def test_no_precision_where_every_answer_is_uncertain() -> None:
    measured = measure(np.array([0]), np.array([[1.0, 0]]), np.array([True]), ("a", "b"))
    assert (measured.coverage, measured.precision) == (0.0, None)


def _answers(right: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return np.eye(2)[np.where(right, reference, 1 - reference)]


def test_bootstrap_interval_is_that_of_the_paired_difference() -> None:
    generator = np.random.default_rng(16)
    reference = generator.integers(0, 2, 400)
    first, second = generator.random(400) < 0.6, generator.random(400) < 0.75
    found = paired_bootstrap(reference, _answers(first, reference), _answers(second, reference), np.arange(400))
    gain = second.astype(float) - first
    half = 1.96 * gain.std() / np.sqrt(400)
    top1 = found["top1"]
    assert (top1.first, top1.second) == (first.mean(), second.mean())
    assert top1.difference == pytest.approx(gain.mean())
    assert (top1.low, top1.high) == pytest.approx((gain.mean() - half, gain.mean() + half), abs=0.01)
    assert top1.is_clear


def test_pairs_that_err_alike_leave_a_narrow_interval() -> None:
    generator = np.random.default_rng(3)
    reference = generator.integers(0, 2, 300)
    first = generator.random(300) < 0.7
    second = first.copy()
    second[np.flatnonzero(~first)[:6]] = True
    found = paired_bootstrap(reference, _answers(first, reference), _answers(second, reference), np.arange(300))
    assert found["top1"].high - found["top1"].low < 0.04
    assert found["top1"].is_clear


def test_few_artists_widen_the_interval() -> None:
    generator = np.random.default_rng(5)
    units = np.repeat(np.arange(12), 30)
    reference = generator.integers(0, 2, len(units))
    # an artist's recordings are all right or all wrong
    first, second = ((generator.random(12) < share)[units] for share in (0.5, 0.6))
    answers = _answers(first, reference), _answers(second, reference)
    by_artist = paired_bootstrap(reference, *answers, units)["top1"]
    by_recording = paired_bootstrap(reference, *answers, np.arange(len(units)))["top1"]
    assert by_artist.difference == by_recording.difference
    assert by_artist.high - by_artist.low > 3 * (by_recording.high - by_recording.low)


def test_macro_f1_of_the_whole_is_that_of_the_report() -> None:
    generator = np.random.default_rng(8)
    reference = generator.integers(0, 3, 60)  # of four classes one has no references
    first, second = generator.random((2, 60, 4))
    found = paired_bootstrap(reference, first, second, np.arange(60))["macro_f1"]
    assert found.first == pytest.approx(np.nanmean(f1_by_class(reference, first)))
    assert found.second == pytest.approx(np.nanmean(f1_by_class(reference, second)))


def test_equal_models_cannot_be_told_apart() -> None:
    reference = np.array([0, 1] * 10)
    answers = np.eye(2)[np.array([0] * 20)]
    found = paired_bootstrap(reference, answers, answers, np.arange(20))
    assert not found["top1"].is_clear
    assert found["top1"].share_better == 0
