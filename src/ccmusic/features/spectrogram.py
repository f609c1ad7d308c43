"""Common to all spectrograms: the grid of frames, the check of the waveform, and decibels."""

from __future__ import annotations

import numpy as np

from ccmusic.errors import EmptyAudio, InvalidParameter

__all__ = ["FRAMES_PER_SECOND", "HOP_LENGTH", "SAMPLE_RATE", "TOP_DB", "check_waveform", "cut_padded", "power_to_db"]

SAMPLE_RATE = 22050
HOP_LENGTH = 512
FRAMES_PER_SECOND = SAMPLE_RATE / HOP_LENGTH

TOP_DB = 80.0  # range that is kept below the maximum
POWER_FLOOR = 1e-10  # librosa's amin


def check_waveform(waveform: np.ndarray) -> None:
    """Refuse a waveform that has no spectrogram.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), real]

    Raises
    ------
    EmptyAudio
        The waveform has no samples.
    InvalidParameter
        The waveform is not one-dimensional, or contains NaN or infinity.
    """
    if waveform.ndim != 1:
        raise InvalidParameter("waveform", f"must be mono [n], not of shape {waveform.shape}")
    if not waveform.size:
        raise EmptyAudio("The recording has no samples; send one that plays.")
    if not (np.isfinite(waveform.min()) and np.isfinite(waveform.max())):  # NaN passes through min and max
        raise InvalidParameter("waveform", "must be finite; it contains NaN or infinity")


def cut_padded(waveform: np.ndarray, begin: int, end: int) -> np.ndarray:
    """`waveform[begin:end]`, with zeros outside the waveform; a view if possible.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
    begin, end : int
        In samples; either may be outside the waveform.

    Returns
    -------
    np.ndarray [shape=(end - begin,), dtype=float32]
    """
    if begin >= 0 and end <= len(waveform):
        return waveform[begin:end]
    cut = np.zeros(end - begin, dtype=np.float32)
    inside = waveform[max(0, begin) : max(0, end)]
    offset = max(0, -begin)
    cut[offset : offset + len(inside)] = inside
    return cut


def power_to_db(power: np.ndarray, top_db: float = TOP_DB) -> np.ndarray:
    """Decibels relative to a spectrogram's maximum.

    Equals ``librosa.power_to_db(power, ref=np.max, top_db=top_db)``.

    Parameters
    ----------
    power : np.ndarray [shape=(...), dtype=float32]
        Squared magnitude, >= 0.
    top_db : float
        Range kept below the maximum, in dB, >= 0.

    Returns
    -------
    np.ndarray [shape=(...), dtype=float32]
        Between -`top_db` and 0; all 0 for silence.

    Raises
    ------
    InvalidParameter
        `top_db` is negative.
    """
    if top_db < 0:
        raise InvalidParameter("top_db", f"must not be negative, and is {top_db:g}")
    reference = max(POWER_FLOOR, float(power.max()))
    # The floors apply to the power, before the logarithm: the same result, one loop over the data less.
    floor = max(POWER_FLOOR, reference * 10.0 ** (-top_db / 10.0))
    decibels: np.ndarray = np.maximum(power, np.float32(floor), dtype=np.float32)
    # numpy's float32 natural logarithm is vectorised, its log10 is not.
    np.log(decibels, out=decibels)
    decibels -= np.float32(np.log(reference))
    decibels *= np.float32(10.0 / np.log(10.0))
    return decibels
