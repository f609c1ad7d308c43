"""Parts of a stored spectrogram that stand for shorter recordings; training and fine-tuning share them.

Conventions: a spectrogram is in decibels relative to a maximum, from -`TOP_DB` to 0, [shape=(..., bins, frames)].
"""

from __future__ import annotations

import numpy as np

from ccmusic.features.spectrogram import HOP_LENGTH, SAMPLE_RATE

TOP_DB = 80.0
CROP_SECONDS = (0.3, 0.6, 1.0, 2.0, 3.0, 5.0, 10.0)
"""Lengths of the crops that a network trains on; a few fixed ones, since every new shape costs time to prepare."""
CROP_SHARES = (0.06, 0.05, 0.08, 0.08, 0.2, 0.28, 0.25)
"""How often each length occurs, relative to the others."""


def seconds_to_frames(seconds: float) -> int:
    """Frames of the (centred) spectrogram of a recording of this length, as `librosa` counts them."""
    return 1 + round(seconds * SAMPLE_RATE) // HOP_LENGTH


def rereference(cqt_db: np.ndarray) -> np.ndarray:
    """Make decibels relative to the crop's own maximum, as they are when the crop is the whole recording.

    Parameters
    ----------
    cqt_db : np.ndarray [shape=(..., bins, frames)]
        Decibels relative to the maximum of the recording that the crop was cut from.

    Returns
    -------
    np.ndarray [same shape]
        The maximum over the last two axes is 0 and the minimum is at least -80. Values that were below the floor of
        the original spectrogram cannot be restored.
    """
    return np.asarray(np.maximum(cqt_db - cqt_db.max(axis=(-2, -1), keepdims=True), -TOP_DB))
