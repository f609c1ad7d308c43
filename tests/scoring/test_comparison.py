from __future__ import annotations

import numpy as np
import pytest

from ccmusic.scoring.classification import macro_f1
from ccmusic.scoring.comparison import paired_bootstrap


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


def test_models_with_the_same_errors_have_a_narrow_interval() -> None:
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
    # all answers to one artist are right, or all are wrong
    first, second = ((generator.random(12) < share)[units] for share in (0.5, 0.6))
    answers = _answers(first, reference), _answers(second, reference)
    by_artist = paired_bootstrap(reference, *answers, units)["top1"]
    by_recording = paired_bootstrap(reference, *answers, np.arange(len(units)))["top1"]
    assert by_artist.difference == by_recording.difference
    assert by_artist.high - by_artist.low > 3 * (by_recording.high - by_recording.low)


def test_macro_f1_of_all_recordings_is_that_of_classification() -> None:
    generator = np.random.default_rng(8)
    reference = generator.integers(0, 3, 60)  # one of the four classes has no references
    first, second = generator.random((2, 60, 4))
    found = paired_bootstrap(reference, first, second, np.arange(60))["macro_f1"]
    assert found.first == pytest.approx(macro_f1(reference, first))
    assert found.second == pytest.approx(macro_f1(reference, second))


def test_equal_models_have_no_clear_difference() -> None:
    reference = np.array([0, 1] * 10)
    answers = np.eye(2)[np.array([0] * 20)]
    found = paired_bootstrap(reference, answers, answers, np.arange(20))
    assert not found["top1"].is_clear
    assert found["top1"].share_better == 0
