"""From the windows' logits to the answer for the track."""

from __future__ import annotations

import numpy as np

from ccmusic.genres import CCMUSIC, Taxonomy
from ccmusic.inference.result import FLAGS
from ccmusic.models.card import Card
from ccmusic.models.card_parts import Head

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


def analysed_seconds(duration_seconds: float, n_windows: int, card: Card) -> float:
    """How much of a recording lies in its windows, for `window_probabilities`.

    Parameters
    ----------
    duration_seconds : float
        Length of the recording.
    n_windows : int
        How many windows were asked about, which may leave parts of it out.
    card : Card
    """
    return min(duration_seconds, n_windows * card.window_seconds)


def window_probabilities(logits: np.ndarray, seconds: float, card: Card | Head) -> np.ndarray:
    """Calibrated probabilities of one recording's windows.

    Parameters
    ----------
    logits : np.ndarray [shape=(n_windows, n_labels)]
    seconds : float
        How much sound the windows hold together: `analysed_seconds`.
    card : Card or Head
        Holds the temperatures of this output.

    Returns
    -------
    np.ndarray [shape=(n_windows, n_labels), dtype=float64]
    """
    return softmax(np.asarray(logits, dtype=np.float64) / card.temperature(seconds))


def track_probabilities(windows: np.ndarray, taxonomy: Taxonomy = CCMUSIC) -> dict[int, np.ndarray]:
    """Mean over the windows, then summed into the coarser levels, so that the levels agree.

    Parameters
    ----------
    windows : np.ndarray [shape=(n_windows, n_labels)]
    taxonomy : Taxonomy
        Of the labels.

    Returns
    -------
    dict of int to np.ndarray [shape=(level,)]
    """
    mean = windows.mean(axis=0)
    return {level: taxonomy.roll_up(mean, level) for level in taxonomy.sizes}


def flags(
    waveform: np.ndarray, duration_seconds: float, truncated: bool, top: float, card: Card, odd: str | None = None
) -> tuple[str, ...]:
    """What a reader of the answer should know before trusting it.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,)]
        Mono, full scale 1.0.
    duration_seconds : float
    truncated : bool
        The recording broke off before its declared end.
    top : float
        The largest probability of the card's own labels.
    card : Card
        Holds the thresholds.
    odd : str, optional
        What the recording seems to be instead of music.

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
        "uncertain": silent or odd is not None or top < card.uncertain_below,
        "truncated": truncated,
    }
    return tuple(flag for flag, is_raised in raised.items() if is_raised)


def flags_of_head(flags: tuple[str, ...], top: float, head: Head, odd: str | None = None) -> tuple[str, ...]:
    """The flags of a recording's answer by another output: its own ``uncertain``, and what holds of the recording.

    Parameters
    ----------
    flags : tuple of str
        Of the answer by the card's own labels.
    top : float
        The largest probability of the head's labels.
    head : Head
        Holds the threshold.
    odd : str, optional
        What the recording seems to be instead of music, ``silence`` too.

    Returns
    -------
    tuple of str
        Some of `ccmusic.inference.result.FLAGS`, in that order.
    """
    uncertain = odd is not None or top < head.uncertain_below
    return tuple(flag for flag in FLAGS if (uncertain if flag == "uncertain" else flag in flags))


def sure_level(probabilities: dict[int, np.ndarray], odd: str | None, card: Card) -> int | None:
    """The finest level whose likeliest group is as probable as the card asks for there.

    Parameters
    ----------
    probabilities : dict of int to np.ndarray [shape=(level,)]
    odd : str or None
        What the recording seems to be instead of music: of that nothing is sure.
    card : Card
        Holds the thresholds.

    Returns
    -------
    int or None
        0 when no level is sure; None when the card has no thresholds.
    """
    if card.sure is None:
        return None
    for level in sorted(probabilities, reverse=True):
        threshold = card.sure.get(str(level))
        if threshold is not None and odd is None and probabilities[level].max() >= threshold:
            return level
    return 0
