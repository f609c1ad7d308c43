"""From the windows' logits to the answer for the track."""

from __future__ import annotations

import numpy as np

from ccmusic.genres import LEVELS, roll_up
from ccmusic.models.card import Card

SILENCE_PEAK = 1e-3
"""A recording whose largest sample lies below this (-60 dB of full scale) is taken for silence."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, in float64.

    Parameters
    ----------
    logits : np.ndarray [shape=(..., n)]

    Returns
    -------
    np.ndarray [shape=(..., n), dtype=float64]
    """
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    weights = np.exp(shifted)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def window_probabilities(logits: np.ndarray, window_seconds: float, card: Card) -> np.ndarray:
    """Calibrated probabilities of windows of one length.

    Parameters
    ----------
    logits : np.ndarray [shape=(n_windows, n_labels)]
    window_seconds : float
        How much sound each window holds.
    card : Card
        Holds the temperatures.

    Returns
    -------
    np.ndarray [shape=(n_windows, n_labels), dtype=float64]
    """
    return softmax(np.asarray(logits, dtype=np.float64) / card.temperature(window_seconds))


def track_probabilities(windows: np.ndarray) -> dict[int, np.ndarray]:
    """Mean over the windows, then summed into the coarser levels, so that the three levels agree.

    Parameters
    ----------
    windows : np.ndarray [shape=(n_windows, 16)]

    Returns
    -------
    dict of int to np.ndarray [shape=(level,)]
    """
    mean = windows.mean(axis=0)
    return {level: roll_up(mean, level) for level in LEVELS}


def flags(waveform: np.ndarray, duration_seconds: float, truncated: bool, top: float, card: Card) -> tuple[str, ...]:
    """What a reader of the answer should know before trusting it.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,)]
        Mono, full scale 1.0.
    duration_seconds : float
    truncated : bool
        The recording broke off before its declared end.
    top : float
        The largest of the 16 probabilities.
    card : Card
        Holds the thresholds.

    Returns
    -------
    tuple of str
        Some of `ccmusic.inference.result.FLAGS`, in that order.
    """
    # max and min, not abs: no copy of an hour of sound
    silent = max(float(waveform.max()), -float(waveform.min())) < SILENCE_PEAK
    raised = {
        "silence": silent,
        "too_short": duration_seconds < card.too_short_below_seconds,
        "uncertain": silent or top < card.uncertain_below,
        "truncated": truncated,
    }
    return tuple(flag for flag, is_raised in raised.items() if is_raised)
