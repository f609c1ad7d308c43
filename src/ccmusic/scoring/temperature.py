"""Softmax temperatures: fitted on logits of windows so that the probabilities of whole recordings fit best.

Conventions: the logits of a recording ("track") are [shape=(windows, classes)], filled with NaN where it has fewer
windows than others; its probabilities are the mean of the windows' probabilities.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]

from ccmusic.inference.aggregate import softmax
from ccmusic.scoring.classification import mean_log_loss


def track_probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Softmax of each window, then the mean over the windows of the track.

    Parameters
    ----------
    logits : np.ndarray [shape=(..., windows, classes)]
        NaN where there is no such window.
    temperature : float
        The logits are divided by it.

    Returns
    -------
    np.ndarray [shape=(..., classes), dtype=float64]
    """
    return np.asarray(np.nanmean(softmax(logits / temperature), axis=-2))


def fit_temperature(reference: np.ndarray, logits: np.ndarray, smoothing: float = 0.0) -> float:
    """Find the temperature with the lowest log loss of the track probabilities.

    Source: Guo et al., "On calibration of modern neural networks" (2017), with the mean over windows inside the loss.

    Parameters
    ----------
    reference : np.ndarray [shape=(tracks,), dtype=int]
    logits : np.ndarray [shape=(tracks, windows, classes)]
    smoothing : float
        Share of every reference that is spread over all classes (label smoothing): if all of a few tracks are right,
        this does not prove that the next will be.

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


def cross_fitted(reference: np.ndarray, logits: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Track probabilities of each fold with a temperature fitted on the other folds.

    Parameters
    ----------
    reference, fold : np.ndarray [shape=(tracks,)]
    logits : np.ndarray [shape=(tracks, windows, classes)]

    Returns
    -------
    np.ndarray [shape=(tracks, classes)]
        With a single fold there are no others: the temperature is 1.
    """
    probabilities = track_probabilities(logits)
    folds = np.unique(fold)
    for held_out in folds if len(folds) > 1 else ():
        rest = fold != held_out
        temperature = fit_temperature(reference[rest], logits[rest])
        probabilities[~rest] = track_probabilities(logits[~rest], temperature)
    return probabilities


def as_tracks(reference: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make each recording that was cut from a clip a track of its own.

    Parameters
    ----------
    reference : np.ndarray [shape=(clips,)]
    logits : np.ndarray [shape=(clips, recordings, ...)]

    Returns
    -------
    reference : np.ndarray [shape=(clips * recordings,)]
    logits : np.ndarray [shape=(clips * recordings, ...)]
    """
    return np.repeat(reference, logits.shape[1]), logits.reshape(-1, *logits.shape[2:])
