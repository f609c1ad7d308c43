"""Random changes to a batch of spectrograms that do not change the genre.

They also reduce differences between the sources that have nothing to do with genre: bandwidth, noise floor,
equalisation and key.

Conventions: a batch is [shape=(batch, bins, frames), dtype=float32] in decibels from -80 to 0; every function returns a
new array of that shape.
"""

from __future__ import annotations

import numpy as np

from ccmusic.features.crops import TOP_DB, rereference

Generator = np.random.Generator


def augment(cqt_db: np.ndarray, generator: Generator, own_reference: np.ndarray) -> np.ndarray:
    """Apply every change below but `roughen`, and set the decibel reference.

    Parameters
    ----------
    cqt_db : np.ndarray [shape=(batch, 84, frames), dtype=float32]
        Crops relative to the maxima of their clips.
    generator : np.random.Generator
    own_reference : np.ndarray [shape=(batch,), dtype=bool]
        True for a crop that stands for a whole recording, so that its own maximum is the reference; False for a window
        of a longer recording.

    Returns
    -------
    np.ndarray [same shape, dtype=float32]
        -80 to 0 dB.
    """
    out = equalise(transpose(cqt_db, generator), generator)
    out = raise_floor(limit_band(out, generator), generator)
    out = np.where(own_reference[:, None, None], rereference(out), np.clip(out, -TOP_DB, 0))
    return mask(out, generator).astype(np.float32)


def transpose(cqt_db: np.ndarray, generator: Generator, most_bins: int = 3) -> np.ndarray:
    """Shift each picture up or down by at most `most_bins` semitones; empty bins repeat the edge."""
    bins = np.arange(cqt_db.shape[1])
    shift = generator.integers(-most_bins, most_bins + 1, size=len(cqt_db))
    rows = np.clip(bins[None, :] - shift[:, None], 0, len(bins) - 1)
    return np.take_along_axis(cqt_db, rows[:, :, None], axis=1)


def equalise(cqt_db: np.ndarray, generator: Generator, most_db: float = 5.0) -> np.ndarray:
    """Add a smooth random curve over frequency, as a different mastering or recording era would."""
    knots = generator.uniform(-most_db, most_db, size=(len(cqt_db), 5))
    place = np.linspace(0, 4, cqt_db.shape[1])
    left = np.minimum(place.astype(int), 3)
    share = (place - left)[None, :]
    curve = knots[:, left] * (1 - share) + knots[:, left + 1] * share
    return np.asarray(cqt_db + curve[:, :, None], dtype=np.float32)


def limit_band(cqt_db: np.ndarray, generator: Generator, most_bins: int = 8, share: float = 0.2) -> np.ndarray:
    """Silence the top bins of some pictures, as a low sample rate or a codec would."""
    cut = np.where(generator.random(len(cqt_db)) < share, generator.integers(1, most_bins + 1, size=len(cqt_db)), 0)
    silent = np.arange(cqt_db.shape[1])[None, :] >= cqt_db.shape[1] - cut[:, None]
    return np.where(silent[:, :, None], np.float32(-TOP_DB), cqt_db)


def raise_floor(cqt_db: np.ndarray, generator: Generator, share: float = 0.3) -> np.ndarray:
    """Raise the floor of some pictures to a random level of -75 to -50 dB."""
    floor = np.where(generator.random(len(cqt_db)) < share, generator.uniform(-75, -50, size=len(cqt_db)), -TOP_DB)
    return np.asarray(np.maximum(cqt_db, floor[:, None, None]), dtype=np.float32)


def mask(cqt_db: np.ndarray, generator: Generator, most_bins: int = 10, most_of_time: float = 0.15) -> np.ndarray:
    """Replace one frequency band and one time span by the picture's mean (SpecAugment, Park et al. 2019)."""
    count, n_bins, frames = cqt_db.shape
    height = generator.integers(0, most_bins + 1, size=count)
    low = (generator.random(count) * (n_bins - height)).astype(int)
    width = (generator.random(count) * most_of_time * frames).astype(int)
    first = (generator.random(count) * (frames - width)).astype(int)
    bins, time = np.arange(n_bins)[None, :], np.arange(frames)[None, :]
    band = (bins >= low[:, None]) & (bins < (low + height)[:, None])
    span = (time >= first[:, None]) & (time < (first + width)[:, None])
    return np.where(band[:, :, None] | span[:, None, :], cqt_db.mean(axis=(1, 2), keepdims=True), cqt_db)


def roughen(cqt_db: np.ndarray, generator: Generator, most_db: float = 3.0, reach: int = 4) -> np.ndarray:
    """Add noise to half of the pictures, and holes to a third: a codec drops what a louder neighbour masks.

    Parameters
    ----------
    cqt_db : np.ndarray [shape=(batch, 84, frames), dtype=float32]
    generator : np.random.Generator
    most_db : float
        Largest standard deviation of the noise, in decibels.
    reach : int
        How many semitones to either side count as neighbours; a bin that is 20 to 40 dB (drawn for each picture) below
        the loudest of them becomes silent.

    Returns
    -------
    np.ndarray [same shape, dtype=float32]
        -80 to 0 dB.
    """
    count, n_bins, _ = cqt_db.shape
    deviation = np.where(generator.random(count) < 0.5, generator.uniform(0, most_db, size=count), 0).astype(np.float32)
    out = cqt_db + deviation[:, None, None] * generator.standard_normal(cqt_db.shape, dtype=np.float32)
    holed = np.flatnonzero(generator.random(count) < 0.33)
    if len(holed):
        padded = np.pad(out[holed], ((0, 0), (reach, reach), (0, 0)), constant_values=-TOP_DB)
        loudest = np.max([padded[:, first : first + n_bins] for first in range(2 * reach + 1)], axis=0)
        depth = generator.uniform(20, 40, size=len(holed))[:, None, None]
        out[holed] = np.where(out[holed] < loudest - depth, -TOP_DB, out[holed])
    return np.asarray(np.clip(out, -TOP_DB, 0), dtype=np.float32)
