"""Measures of predicted probabilities against reference labels.

Conventions: the reference comes before the estimate; probabilities are those of a whole track (mean over its windows);
level-9 and level-2 probabilities are sums over leaves; every measure counts labelled clips only.
"""

from __future__ import annotations

import numpy as np

from ccmusic.genres import LABELS, roll_up
from ccmusic.inference.aggregate import softmax

CALIBRATION_BINS = 15


def track_probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Softmax of each window, then the mean over the track's windows.

    Parameters
    ----------
    logits : np.ndarray [shape=(..., windows, 16)]
        NaN where there is no such window.
    temperature : float
        What the logits are divided by.

    Returns
    -------
    np.ndarray [shape=(..., 16), dtype=float64]
    """
    return np.asarray(np.nanmean(softmax(logits / temperature), axis=-2))


def group_of_leaf(level: int) -> np.ndarray:
    """Index of each leaf's group at a level, [shape=(16,)]."""
    return np.asarray(roll_up(np.eye(len(LABELS)), level).argmax(axis=1))


def top_k_accuracy(reference: np.ndarray, probabilities: np.ndarray, k: int = 1) -> float:
    """Share of clips whose reference is among the k likeliest classes."""
    likeliest = np.argsort(-probabilities, axis=1)[:, :k]
    return float((likeliest == reference[:, None]).any(axis=1).mean())


def mean_log_loss(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log probability of the reference, in nats."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(reference)), reference], 1e-12)).mean())


def f1_by_class(reference: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall for each class, [shape=(classes,)]; NaN for a class without references."""
    estimated = probabilities.argmax(axis=1)
    scores = np.full(probabilities.shape[1], np.nan)
    for index in np.unique(reference):
        hits = np.sum((reference == index) & (estimated == index))
        scores[index] = 2 * hits / (np.sum(reference == index) + np.sum(estimated == index))
    return scores


def expected_calibration_error(reference: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Mean gap between the largest probability and how often it is right, over bins of equal width.

    Source: Guo et al., "On calibration of modern neural networks" (2017).
    """
    return _calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == reference, bins)


def _calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, right, bins) - np.bincount(place, confidence, bins)
    return float(np.abs(gaps).sum() / len(confidence))


def calibration_error_by_chance(
    probabilities: np.ndarray, bins: int = CALIBRATION_BINS, draws: int = 500, seed: int = 16
) -> tuple[float, float]:
    """The calibration error that a perfectly calibrated model would show on as many recordings.

    In each bin the share of right answers scatters about the probability, and the error counts that as a gap: on few
    recordings no model reaches 0. Answers are drawn to be right with the probability that they state, again and again.

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
        Only one draw in twenty lies above: a model whose error is larger is not calibrated.
    """
    confidence, generator = probabilities.max(axis=1), np.random.default_rng(seed)
    found = [_calibration_error(confidence, generator.random(len(confidence)) < confidence, bins) for _ in range(draws)]
    return float(np.mean(found)), float(np.percentile(found, 95))


def scores(reference: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Every measure at every level.

    Parameters
    ----------
    reference : np.ndarray [shape=(clips,), dtype=int]
        Leaves.
    probabilities : np.ndarray [shape=(clips, 16)]

    Returns
    -------
    dict of str to float
        ``top1_16``, ``top5_16``, ``macro_f1_16``, ``ece_16`` and the same with 9 and 2 (top-5 at 16 and 9 only).
    """
    out: dict[str, float] = {}
    for level in (16, 9, 2):
        groups, rolled = group_of_leaf(level)[reference], roll_up(probabilities, level)
        out[f"top1_{level}"] = top_k_accuracy(groups, rolled)
        if level > 2:
            out[f"top5_{level}"] = top_k_accuracy(groups, rolled, 5)
        out[f"macro_f1_{level}"] = float(np.nanmean(f1_by_class(groups, rolled)))
        out[f"ece_{level}"] = expected_calibration_error(groups, rolled)
    return out
