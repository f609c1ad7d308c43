"""The acoustic identity: an embedding that stays the same when a recording is encoded again.

The network's features are of no use here: they are made so that different songs of one genre are alike, and not every
model gives them. The constant-Q spectrogram, which the pipeline has computed anyway, tells recordings apart. The
embedding has two parts, each of length 1:

* the pitch profile: the mean level of 64 semitones, without their mean. It tells songs and arrangements apart.
* the movement: of 16 equal pieces of the recording (without half a second at both ends) the mean level of 12 bands,
  without the mean of the band and that of the piece. It tells two performances or two versions of one song apart,
  whose pitch profiles are alike.

A change of level cancels in both. Codecs, the sample rate and the samples that an encoder puts in front change means
over seconds and half an octave little. Levels are logarithms of mean amplitudes: faint sounds, which codecs remove,
hardly count. A recording without movement (a tone, silence, noise, a loop) has no embedding: what would be left of it
is chance.

`ccmusic.batch.duplicates` compares embeddings, and docs/batch.md has the measured distances; ``bench/identity.py``
measures them.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ccmusic.features.cqt import FRAMES_PER_SECOND

EMBEDDING_SIZE = 256
PROFILE_SIZE = 64
"""The numbers of the pitch profile, which come first; the others are the movement."""
MIN_SECONDS = 10.0
"""A shorter recording has no embedding: the 0.05 s of an encoder's delay would be too much of a piece."""
MIN_MOVEMENT_DB = 0.7
"""A recording whose levels move less (root mean square) has no embedding. Music of 30 s has 0.7 dB or more."""

_EDGE_FRAMES = 22
"""About the length of the longest filter: a sound that is cut off at the first or last sample rings no longer."""
_LOWEST_BIN = 12
_N_PIECES = 16
_N_BANDS = 12
_FLOOR = 10.0 ** (-60.0 / 20.0)


def acoustic_embedding(cqt_db: np.ndarray) -> np.ndarray | None:
    """The embedding of a recording.

    Parameters
    ----------
    cqt_db : np.ndarray [shape=(84, frames), dtype=float32]
        From `ccmusic.features.cqt.cqt_db`, of the whole recording.

    Returns
    -------
    np.ndarray [shape=(256,), dtype=float16] or None
        None if the recording is shorter than `MIN_SECONDS`, or moves less than `MIN_MOVEMENT_DB`.
    """
    n_frames = cqt_db.shape[1]
    if n_frames < MIN_SECONDS * FRAMES_PER_SECOND:
        return None
    bounds = np.linspace(_EDGE_FRAMES, n_frames - _EDGE_FRAMES, _N_PIECES + 1).astype(int)
    amplitudes = np.stack([_mean_amplitude(cqt_db[_LOWEST_BIN:, a:b]) for a, b in pairwise(bounds.tolist())])
    profile = _decibels(amplitudes[:, :PROFILE_SIZE].mean(axis=0))
    profile -= profile.mean()
    bands = amplitudes.reshape(_N_PIECES, _N_BANDS, -1).mean(axis=2)
    movement = _decibels(bands)
    movement -= movement.mean(axis=0)
    movement -= movement.mean(axis=1, keepdims=True)
    if np.sqrt(np.mean(movement**2)) < MIN_MOVEMENT_DB:
        return None
    parts = profile, movement.T.ravel()
    return np.concatenate([part / max(float(np.linalg.norm(part)), 1e-9) for part in parts]).astype("<f2")


def _mean_amplitude(cqt_db: np.ndarray) -> np.ndarray:
    """Of each bin [shape=(bins,)]."""
    return np.asarray(np.exp(cqt_db * np.float32(np.log(10.0) / 20.0)).mean(axis=1, dtype=np.float64))


def _decibels(amplitudes: np.ndarray) -> np.ndarray:
    return np.asarray(20.0 * np.log10(amplitudes + _FLOOR))
