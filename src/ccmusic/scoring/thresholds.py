"""Thresholds of the flags in a model's card, chosen on answers to recordings that the model was not trained on."""

from __future__ import annotations

import numpy as np

from ccmusic.genres import roll_up
from ccmusic.scoring.classification import top_k_accuracy
from ccmusic.scoring.levels import group_of_leaf
from ccmusic.scoring.temperature import as_tracks

SURE_PRECISION = {16: 0.8, 9: 0.8, 2: 0.95}
"""By level: the least share of right answers among those that are called sure of it."""
LEAST_SURE = 0.7
"""The lowest threshold for "sure". At level 2 nearly all answers are right, so that a lower one would reach the wanted
share too; but the answers near a half are often wrong."""
LEAST_COVERAGE = 0.1
"""A threshold must let at least this share of all answers pass."""


def uncertain_threshold(reference: np.ndarray, probabilities: np.ndarray, precision: float = 0.6) -> dict[str, float]:
    """Find the lowest threshold of the largest probability above which enough answers are right.

    Parameters
    ----------
    reference : np.ndarray [shape=(tracks,)]
    probabilities : np.ndarray [shape=(tracks, classes)]
        Calibrated.
    precision : float
        Wanted share of right answers among those at or above the threshold.

    Returns
    -------
    dict of str to float
        ``uncertain_below``, and the ``precision`` and ``coverage`` of the answers at or above it. If no threshold
        reaches the wanted precision, the one with the best.
    """
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == reference
    rows = []
    for threshold in np.arange(0, 0.96, 0.01):
        if (top >= threshold).mean() < LEAST_COVERAGE:
            break
        row = {"uncertain_below": round(float(threshold), 2), **_precision_and_coverage(top >= threshold, right)}
        if row["precision"] >= precision:
            return row
        rows.append(row)
    return max(rows, key=lambda row: row["precision"])


def sure_thresholds(reference: np.ndarray, probabilities: np.ndarray) -> dict[int, dict[str, float]]:
    """Find how probable the likeliest group of each level must be for an answer to be called sure of it.

    Parameters
    ----------
    reference : np.ndarray [shape=(tracks,)]
        Leaves.
    probabilities : np.ndarray [shape=(tracks, 16)]
        Calibrated.

    Returns
    -------
    dict of int to dict of str to float
        By level: ``threshold``, and the ``precision`` and ``coverage`` of the answers that reach it. The threshold is
        1 for a level where none reaches `SURE_PRECISION`.
    """
    out = {}
    for level, precision in SURE_PRECISION.items():
        rolled = roll_up(probabilities, level)
        top, right = rolled.max(axis=1), rolled.argmax(axis=1) == group_of_leaf(level)[reference]
        tried = np.round(np.arange(LEAST_SURE, 1, 0.01), 2)
        good = (t for t in tried if (top >= t).any() and right[top >= t].mean() >= precision)
        threshold = float(min(good, default=1.0))
        out[level] = {"threshold": threshold, **_precision_and_coverage(top >= threshold, right)}
    return out


def _precision_and_coverage(passed: np.ndarray, right: np.ndarray) -> dict[str, float]:
    return {
        "precision": round(float(right[passed].mean()) if passed.any() else 0.0, 4),
        "coverage": round(float(passed.mean()), 4),
    }


def shortest_trusted(reference: np.ndarray, by_seconds: dict[float, np.ndarray], share: float = 0.8) -> float:
    """Find the shortest tested length whose accuracy is near that of the longest.

    Parameters
    ----------
    reference : np.ndarray [shape=(clips,)]
    by_seconds : dict of float to np.ndarray [shape=(clips, recordings, classes)]
        Probabilities for recordings of each length.
    share : float
        Least share of the longest recordings' top-1 accuracy.

    Returns
    -------
    float
        Seconds.
    """
    return shortest_near({s: top_k_accuracy(*as_tracks(reference, p)) for s, p in by_seconds.items()}, share)


def shortest_near(accuracy: dict[float, float], share: float = 0.8) -> float:
    """The shortest length in seconds whose accuracy is at least this share of that of the longest."""
    wanted = share * accuracy[max(accuracy)]
    return min(seconds for seconds, value in accuracy.items() if value >= wanted)
