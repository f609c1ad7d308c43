"""Turns the windows' logits into probabilities and flags of the track."""

from __future__ import annotations

import numpy as np

from ccmusic.genres import CCMUSIC, Taxonomy
from ccmusic.inference.result import FLAGS
from ccmusic.models.card import Card
from ccmusic.models.card_parts import Head

SILENCE_PEAK = 1e-3
"""A recording without a larger sample (-60 dB of full scale) is silence."""


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


def analysed_seconds(music_seconds: float, n_windows: int, card: Card) -> float:
    """Length of the part of a recording that its windows cover.

    Parameters
    ----------
    music_seconds : float
        Length of the recording without lasting silence.
    n_windows : int
        Number of windows; a small number may leave gaps.
    card : Card
    """
    return min(music_seconds, n_windows * card.window_seconds)


def window_probabilities(logits: np.ndarray, seconds: float, card: Card | Head) -> np.ndarray:
    """Calibrated probabilities of one recording's windows.

    Parameters
    ----------
    logits : np.ndarray [shape=(n_windows, n_labels)]
    seconds : float
        Length of the analysed part, see `analysed_seconds`.
    card : Card or Head
        Has the temperatures of this output.

    Returns
    -------
    np.ndarray [shape=(n_windows, n_labels), dtype=float64]
    """
    return softmax(np.asarray(logits, dtype=np.float64) / card.temperature(seconds))


def track_probabilities(
    windows: np.ndarray, taxonomy: Taxonomy = CCMUSIC, weights: np.ndarray | None = None
) -> dict[int, np.ndarray]:
    """The mean over the windows, summed into the groups of each coarser level, so that the levels agree.

    Parameters
    ----------
    windows : np.ndarray [shape=(n_windows, n_labels)]
    taxonomy : Taxonomy
        Of the labels.
    weights : np.ndarray [shape=(n_windows,)], optional
        Of the windows; equal by default.

    Returns
    -------
    dict of int to np.ndarray [shape=(level,)]
    """
    mean = np.average(windows, axis=0, weights=weights)
    return {level: taxonomy.roll_up(mean, level) for level in taxonomy.sizes}


def flags(
    waveform: np.ndarray,
    music_seconds: float,
    truncated: bool,
    top: float,
    card: Card,
    non_music: str | None = None,
    *,
    channels_cancel: bool = False,
) -> tuple[str, ...]:
    """The flags of an answer.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,)]
        Mono, full scale 1.0.
    music_seconds : float
        Length without lasting silence.
    truncated : bool
        The recording ended before its declared length.
    top : float
        Largest probability of the card's own labels.
    card : Card
        Has the thresholds.
    non_music : str, optional
        Kind of non-music that was detected.
    channels_cancel : bool
        Channels were inverted before they were mixed.

    Returns
    -------
    tuple of str
        Some of `ccmusic.inference.result.FLAGS`, in that order.
    """
    # max and min instead of abs: no copy of a long recording
    silent = max(float(waveform.max()), -float(waveform.min())) < SILENCE_PEAK
    raised = {
        "silence": silent,
        "too_short": music_seconds < card.too_short_below_seconds,
        "uncertain": silent or non_music is not None or top < card.uncertain_below,
        "truncated": truncated,
        "out_of_phase": channels_cancel,
    }
    return tuple(flag for flag, is_raised in raised.items() if is_raised)


def flags_of_head(flags: tuple[str, ...], top: float, head: Head, non_music: str | None = None) -> tuple[str, ...]:
    """The flags of a further output's answer: its own ``uncertain``, and the flags of the recording.

    Parameters
    ----------
    flags : tuple of str
        Of the answer in the card's own labels.
    top : float
        Largest probability of the head's labels.
    head : Head
        Has the threshold.
    non_music : str, optional
        Kind of non-music that was detected, or ``silence``.

    Returns
    -------
    tuple of str
        Some of `ccmusic.inference.result.FLAGS`, in that order.
    """
    uncertain = non_music is not None or top < head.uncertain_below
    return tuple(flag for flag in FLAGS if (uncertain if flag == "uncertain" else flag in flags))


def sure_level(probabilities: dict[int, np.ndarray], non_music: str | None, card: Card) -> int | None:
    """The finest level whose likeliest group reaches the card's threshold.

    Parameters
    ----------
    probabilities : dict of int to np.ndarray [shape=(level,)]
    non_music : str or None
        Kind of non-music that was detected; then the answer is sure of no level.
    card : Card
        Has the thresholds.

    Returns
    -------
    int or None
        0 if no level reaches its threshold; None if the card has no thresholds.
    """
    if card.sure is None:
        return None
    for level in sorted(probabilities, reverse=True):
        threshold = card.sure.get(str(level))
        if threshold is not None and non_music is None and probabilities[level].max() >= threshold:
            return level
    return 0
