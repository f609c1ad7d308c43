"""Calibration measures: how well the largest probability states how often the answer is right.

The conventions are those of `ccmusic.scoring.classification`. The confidence of an answer is its largest probability;
answers are counted in bins of equal width over it.
"""

from __future__ import annotations

import numpy as np

from ccmusic.scoring.classification import validate

BINS = 15


def expected_calibration_error(reference: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """Mean gap between confidence and the share of right answers, over the bins.

    Source: Guo et al., "On calibration of modern neural networks" (2017).
    """
    validate(reference, probabilities)
    return _calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == reference, bins)


def calibration_error_by_chance(
    probabilities: np.ndarray, bins: int = BINS, draws: int = 500, seed: int = 16
) -> tuple[float, float]:
    """Calibration error that a perfectly calibrated model would show on this number of recordings.

    In each bin the share of right answers varies by chance around the confidence, and the error counts this as a gap:
    on few recordings no model reaches 0. The function draws answers that are right with the probability that they
    state, and repeats this `draws` times.

    Source: Bröcker and Smith, "Increasing the reliability of reliability diagrams" (2007), consistency resampling.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, classes)]
    bins : int
    draws : int
    seed : int

    Returns
    -------
    mean : float
    high : float
        The 95th percentile: a model whose error is larger is not calibrated.
    """
    confidence, generator = probabilities.max(axis=1), np.random.default_rng(seed)
    found = [_calibration_error(confidence, generator.random(len(confidence)) < confidence, bins) for _ in range(draws)]
    return float(np.mean(found)), float(np.percentile(found, 95))


def reliability_curve(
    reference: np.ndarray, probabilities: np.ndarray, bins: int = BINS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence and accuracy in each bin that is not empty.

    Returns
    -------
    confidence : np.ndarray [shape=(full bins,)]
        Mean confidence.
    accuracy : np.ndarray [shape=(full bins,)]
        Share of right answers.
    count : np.ndarray [shape=(full bins,), dtype=int]
    """
    validate(reference, probabilities)
    confidence = probabilities.max(axis=1)
    place = _bin_of(confidence, bins)
    count = np.bincount(place, minlength=bins)
    right = np.bincount(place, probabilities.argmax(axis=1) == reference, bins)
    full = count > 0
    return np.bincount(place, confidence, bins)[full] / count[full], right[full] / count[full], count[full]


def _calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    place = _bin_of(confidence, bins)
    gaps = np.bincount(place, right, bins) - np.bincount(place, confidence, bins)
    return float(np.abs(gaps).sum() / len(confidence))


def _bin_of(confidence: np.ndarray, bins: int) -> np.ndarray:
    return np.asarray(np.minimum((confidence * bins).astype(int), bins - 1))
