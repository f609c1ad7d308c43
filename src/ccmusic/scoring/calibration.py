"""What the card promises about trust: softmax temperatures and the thresholds of the flags, from out-of-fold logits."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]

from ccmusic.genres import roll_up
from ccmusic.scoring.classification import group_of_leaf, mean_log_loss, top_k_accuracy, track_probabilities


def fit_temperature(reference: np.ndarray, logits: np.ndarray, smoothing: float = 0.0) -> float:
    """Find the temperature that makes the TRACK probabilities likeliest.

    Source: Guo et al., "On calibration of modern neural networks" (2017), with the mean over windows inside the loss.

    Parameters
    ----------
    reference : np.ndarray [shape=(tracks,), dtype=int]
    logits : np.ndarray [shape=(tracks, windows, 16)]
        NaN where a track has fewer windows.
    smoothing : float
        Share of every reference that is spread over all classes: that a few tracks are all right does not prove that
        the next will be.

    Returns
    -------
    float
        Between 0.2 and 5.
    """

    def loss(log_temperature: float) -> float:
        probabilities = track_probabilities(logits, float(np.exp(log_temperature)))
        spread = -np.log(np.maximum(probabilities, 1e-12)).mean() if smoothing else 0.0
        return (1 - smoothing) * mean_log_loss(reference, probabilities) + smoothing * float(spread)

    found = minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def as_tracks(reference: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give every recording cut from a clip a row of its own.

    Parameters
    ----------
    reference : np.ndarray [shape=(clips,)]
    logits : np.ndarray [shape=(clips, recordings, windows, 16)]

    Returns
    -------
    reference : np.ndarray [shape=(clips * recordings,)]
    logits : np.ndarray [shape=(clips * recordings, windows, 16)]
    """
    return np.repeat(reference, logits.shape[1]), logits.reshape(-1, *logits.shape[2:])


def cross_fitted(reference: np.ndarray, logits: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Track probabilities whose temperature was fitted on the other folds.

    Parameters
    ----------
    reference, fold : np.ndarray [shape=(tracks,)]
    logits : np.ndarray [shape=(tracks, windows, 16)]

    Returns
    -------
    np.ndarray [shape=(tracks, 16)]
        With a single fold there is nothing to cross: the temperature is 1.
    """
    probabilities = track_probabilities(logits)
    for held_out in np.unique(fold) if len(np.unique(fold)) > 1 else ():
        rest = fold != held_out
        temperature = fit_temperature(reference[rest], logits[rest])
        probabilities[~rest] = track_probabilities(logits[~rest], temperature)
    return probabilities


def uncertain_threshold(reference: np.ndarray, probabilities: np.ndarray, precision: float = 0.6) -> dict[str, float]:
    """Find the lowest threshold above which answers are right often enough.

    Parameters
    ----------
    reference : np.ndarray [shape=(tracks,)]
    probabilities : np.ndarray [shape=(tracks, 16)]
        Calibrated.
    precision : float
        Wanted share of right answers among those at or above the threshold, which must be at least a tenth of all.

    Returns
    -------
    dict of str to float
        ``uncertain_below``, and the ``precision`` and ``coverage`` of the answers that it lets pass; where the wanted
        precision is never reached, the threshold with the best.
    """
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == reference
    rows = []
    for threshold in np.arange(0, 0.96, 0.01):
        passed = top >= threshold
        if passed.mean() < 0.1:
            break
        row = {
            "uncertain_below": round(float(threshold), 2),
            "precision": round(float(right[passed].mean()), 4),
            "coverage": round(float(passed.mean()), 4),
        }
        if row["precision"] >= precision:
            return row
        rows.append(row)
    return max(rows, key=lambda row: row["precision"])


SURE_PRECISION = {16: 0.8, 9: 0.8, 2: 0.95}
"""How many of the answers that are called sure of a level should be right there."""
LEAST_SURE = 0.7
"""No group is called sure that is less probable, though answers above be right often enough taken together: at level 2
nearly all are right, and those near a half are not among them."""


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
        By level: ``threshold``, and the ``precision`` and ``coverage`` of the answers that reach it. A level that never
        comes as near as `SURE_PRECISION` has the threshold 1.
    """
    out = {}
    for level, precision in SURE_PRECISION.items():
        rolled = roll_up(probabilities, level)
        top, right = rolled.max(axis=1), rolled.argmax(axis=1) == group_of_leaf(level)[reference]
        tried = np.round(np.arange(LEAST_SURE, 1, 0.01), 2)
        threshold = float(
            min((t for t in tried if (top >= t).any() and right[top >= t].mean() >= precision), default=1.0)
        )
        passed = top >= threshold
        out[level] = {
            "threshold": threshold,
            "precision": round(float(right[passed].mean()) if passed.any() else 0.0, 4),
            "coverage": round(float(passed.mean()), 4),
        }
    return out


def shortest_trusted(reference: np.ndarray, by_seconds: dict[float, np.ndarray], share: float = 0.8) -> float:
    """Find the shortest tested length whose accuracy comes near that of the longest.

    Parameters
    ----------
    reference : np.ndarray [shape=(clips,)]
    by_seconds : dict of float to np.ndarray [shape=(clips, recordings, 16)]
        Probabilities for recordings of each length.
    share : float
        How much of the longest recordings' top-1 accuracy is near enough.

    Returns
    -------
    float
        Seconds.
    """

    def accuracy(probabilities: np.ndarray) -> float:
        count = probabilities.shape[1]
        return top_k_accuracy(np.repeat(reference, count), probabilities.reshape(-1, probabilities.shape[2]))

    return shortest_near({seconds: accuracy(probabilities) for seconds, probabilities in by_seconds.items()}, share)


def shortest_near(accuracy: dict[float, float], share: float = 0.8) -> float:
    """The shortest length in seconds whose accuracy is at least a share of that of the longest."""
    wanted = share * accuracy[max(accuracy)]
    return min(seconds for seconds, value in accuracy.items() if value >= wanted)
