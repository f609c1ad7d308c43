"""Clips cut into windows, as the service cuts a recording, and the logits of a network for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ccmusic.audio.windows import cut
from ccmusic.features.crops import rereference, seconds_to_frames
from ccmusic.genres import LABELS
from ccmusic.training.data import Dataset

WINDOW_SECONDS = 10.0
WHOLE_SECONDS = 30.0
CLIP_SECONDS = (0.3, 0.5, 1.0, 3.0, 10.0, WHOLE_SECONDS)
CROPS_PER_CLIP = 3

Forward = Callable[[np.ndarray], np.ndarray]


def track_windows(cqt_db: np.ndarray, window_seconds: float = WINDOW_SECONDS) -> np.ndarray:
    """Cut a track as the service does, [shape=(84, frames)] to [shape=(windows, 84, window frames)]."""
    places = cut(cqt_db.shape[1], seconds_to_frames(window_seconds))
    return np.stack([cqt_db[:, first:last] for first, last in places])


def clip_of(cqt_db: np.ndarray, seconds: float, position: float) -> np.ndarray:
    """Cut a crop that stands for a shorter recording; its decibels are relative to its own maximum.

    Parameters
    ----------
    cqt_db : np.ndarray [shape=(84, frames)]
    seconds : float
        Length of the crop.
    position : float
        0 takes the crop from the start of the track, 1 from its end.
    """
    frames = min(seconds_to_frames(seconds), cqt_db.shape[1])
    first = int(position * (cqt_db.shape[1] - frames))
    return rereference(cqt_db[:, first : first + frames])


def predict(forward: Forward, dataset: Dataset, clips: np.ndarray, seconds: float) -> np.ndarray:
    """Logits of every window of recordings of one length.

    Parameters
    ----------
    forward : callable
        Decibels [batch, 84, frames] to logits [batch, 16].
    dataset : Dataset
    clips : np.ndarray [shape=(n,)]
        Rows of the clips.
    seconds : float
        30 takes the whole clips; less takes `CROPS_PER_CLIP` crops of each, evenly spread.

    Returns
    -------
    np.ndarray [shape=(n, recordings per clip, windows, 16), dtype=float32]
        NaN where a clip has fewer windows.
    """
    positions = [0.0] if seconds >= WHOLE_SECONDS else np.linspace(0, 1, CROPS_PER_CLIP)
    windows, place = [], []
    for row, clip in enumerate(clips):
        whole = dataset.cqt_db(clip)
        for recording, position in enumerate(positions):
            track = whole if seconds >= WHOLE_SECONDS else clip_of(whole, seconds, position)
            for index, window in enumerate(track_windows(track)):
                windows.append(window)
                place.append((row, recording, index))
    most = max(index for *_, index in place) + 1
    logits = np.full((len(clips), len(positions), most, len(LABELS)), np.nan, dtype=np.float32)
    for first in range(0, len(windows), 64):
        answers = forward(np.stack(windows[first : first + 64]))
        for (row, recording, index), answer in zip(place[first : first + 64], answers, strict=True):
            logits[row, recording, index] = answer
    return logits
