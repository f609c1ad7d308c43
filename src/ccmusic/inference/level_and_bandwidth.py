"""Loudness and bandwidth of a recording; drift detection compares them with the training set's."""

from __future__ import annotations

import numpy as np

from ccmusic.features.cqt import BINS_PER_OCTAVE, FMIN

BANDWIDTH_SHARE = 0.99
"""Share of the constant-Q power below the bandwidth."""
QUIETEST_DBFS = -120.0
"""Level of digital silence; it replaces minus infinity."""

_SAMPLES = 2**20
_FRAMES = 4096


def level_dbfs(*parts: np.ndarray) -> float:
    """Root mean square of a recording in dB of full scale; a full-scale square wave has 0 dB.

    Parameters
    ----------
    parts : np.ndarray [shape=(n,), dtype=float32]
        Of its waveform: mono, full scale 1.0.

    Returns
    -------
    float
        At least `QUIETEST_DBFS`.
    """
    # in pieces: no copy of a long recording, and no long sum in single precision
    pieces = (part[first : first + _SAMPLES] for part in parts for first in range(0, len(part), _SAMPLES))
    power = sum(float(np.dot(piece, piece)) for piece in pieces) / max(1, sum(map(len, parts)))
    return max(QUIETEST_DBFS, 10.0 * float(np.log10(max(power, 1e-30))))


def bandwidth_hz(cqt_db: np.ndarray) -> float:
    """Frequency below which `BANDWIDTH_SHARE` of the constant-Q power is.

    Parameters
    ----------
    cqt_db : np.ndarray [shape=(84, frames), dtype=float32]
        From `ccmusic.features.cqt.cqt_db`.

    Returns
    -------
    float
        In Hz, interpolated between the bins.
    """
    step = -(-cqt_db.shape[1] // _FRAMES)  # a subset of the frames is precise enough
    power = (10.0 ** (cqt_db[:, ::step].astype(np.float64) / 10.0)).mean(axis=1)
    shares = np.cumsum(power) / power.sum()
    place = float(np.interp(BANDWIDTH_SHARE, shares, np.arange(len(shares))))
    return float(FMIN * 2.0 ** (place / BINS_PER_OCTAVE))
