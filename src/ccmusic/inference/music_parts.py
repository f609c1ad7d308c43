"""Finds the parts of a recording in which there is music: silence has no vote in the answer.

A frame is silent if it is far quieter than the rest of the recording, or as quiet as the dither of 16 bits. Lasting
silence divides the recording into parts. A recording without it is one part, the whole. The fade of the music into a
silence belongs to its part, as it does if the recording ends with it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ccmusic.features.spectrogram import FRAMES_PER_SECOND, HOP_LENGTH

SILENCE_SECONDS = 1.0
"""Shorter silence belongs to the music."""
MUSIC_SECONDS = 1.0
"""Shorter parts are clicks between two silences, unless they are most of what sounds."""
BELOW_LOUDNESS_DB = 45.0
"""A frame so far below the loudness of the recording is silent."""
DITHER_DBFS = -85.0
"""A frame below this level is silent. Dither of 16 bits has about -97 dB below 11 kHz."""
FADE_DB = 6.0
"""A fade goes on while the quietest frame of the next `SILENCE_SECONDS` is further below it than this."""
CUT_DB = 30.0
"""Music that falls as much in one frame is cut off and does not fade: what follows is left by the filters of resampling
and decoding."""
_FRAMES = 4096

Part = tuple[int, int]
"""First frame, and the frame after the last."""


def music_parts(spectrogram_db: np.ndarray, waveform: np.ndarray, min_frames: int = 1) -> list[Part]:
    """The parts of a recording between lasting silences.

    Parameters
    ----------
    spectrogram_db : np.ndarray [shape=(bins, frames), dtype=float32]
        Decibels relative to the maximum, from one of `ccmusic.inference.front_end.SPECTROGRAMS`.
    waveform : np.ndarray [shape=(n,), dtype=float32]
        Mono at 22,050 Hz, full scale 1.0.
    min_frames : int
        Shorter parts are extended into the silence.

    Returns
    -------
    list of Part
        In ascending order, at least one.
    """
    n_frames = spectrogram_db.shape[1]
    level = _hop_power(waveform, n_frames)
    # the spectrogram ignores an offset, and the waveform does not raise bass
    is_silent = _far_below_the_rest(frame_power(spectrogram_db)) | _far_below_the_rest(level)
    is_silent |= level < 10.0 ** (DITHER_DBFS / 10.0)
    parts = [
        _extended(start - _fade_frames(level[start::-1]), end + _fade_frames(level[end - 1 :]), min_frames, n_frames)
        for start, end in _runs(~_lasting(is_silent))
        if end - start >= MUSIC_SECONDS * FRAMES_PER_SECOND
    ]
    n_kept = sum(np.count_nonzero(~is_silent[start:end]) for start, end in parts)
    return parts if 2 * n_kept > np.count_nonzero(~is_silent) else [(0, n_frames)]


def place_windows(
    parts: list[Part], places: Callable[[int, int | None], list[Part]], count: int | None
) -> tuple[list[Part], np.ndarray]:
    """Positions of the windows in all parts, and their weights in the answer.

    Parameters
    ----------
    parts : list of Part
    places : callable
        Number of frames of a part, and the number of windows in it or None -> their positions in it.
    count : int or None
        Number of windows in all parts.

    Returns
    -------
    list of (int, int)
        First frame and the frame after the last.
    np.ndarray [shape=(n_windows,), dtype=float64]
        In proportion to the length of the part for which each window stands; 1 if there is only one part.
    """
    lengths = np.array([end - start for start, end in parts])
    ends = np.cumsum([0, *lengths]) / lengths.sum()
    counts = [None] * len(parts) if count is None else np.diff(np.round(count * ends)).astype(int).tolist()
    windows: list[Part] = []
    weights: list[float] = []
    for (start, end), of_part in zip(parts, counts, strict=True):
        if of_part != 0:
            found = places(end - start, of_part)
            windows += [(start + first, start + last) for first, last in found]
            weights += [(end - start) / len(found)] * len(found)
    return windows, np.array(weights) / max(weights)


def frame_power(spectrogram_db: np.ndarray) -> np.ndarray:
    """Power of each frame above the floor of the spectrogram [shape=(frames,)]; digital silence has none."""
    floor = 10.0 ** (float(spectrogram_db.min()) / 10.0)
    pieces = [
        np.exp(spectrogram_db[:, first : first + _FRAMES] * np.float32(np.log(10.0) / 10.0)).sum(axis=0)
        for first in range(0, spectrogram_db.shape[1], _FRAMES)
    ]
    return np.asarray(np.maximum(np.concatenate(pieces) - len(spectrogram_db) * floor, 0.0))


def loudness(power: np.ndarray) -> float:
    """Mean power of the frames that are not silent: independent of silence, and of single loud clicks.

    Gated twice, relative to the loudest frame and to the first mean, as in ITU-R BS.1770.
    """
    mean = float(power.max())
    for _ in range(2):
        mean = float(power[power >= mean * 10.0 ** (-BELOW_LOUDNESS_DB / 10.0)].mean())
    return mean


def _far_below_the_rest(power: np.ndarray) -> np.ndarray:
    return np.asarray(power < loudness(power) * 10.0 ** (-BELOW_LOUDNESS_DB / 10.0))


def _hop_power(waveform: np.ndarray, n_frames: int) -> np.ndarray:
    """Mean square of the samples around each frame's centre, of which there are none behind the end."""
    n_hops = min(n_frames, len(waveform) // HOP_LENGTH)
    power = np.zeros(n_frames)
    for first in range(0, n_hops, _FRAMES):
        last = min(first + _FRAMES, n_hops)
        hops = waveform[first * HOP_LENGTH : last * HOP_LENGTH].reshape(-1, HOP_LENGTH)
        power[first:last] = np.einsum("ij,ij->i", hops, hops) / HOP_LENGTH
    power[n_hops:] = power[n_hops - 1] if n_hops else 1.0
    return power


def _lasting(is_silent: np.ndarray) -> np.ndarray:
    """`is_silent` without runs shorter than `SILENCE_SECONDS`."""
    lasting = np.zeros_like(is_silent)
    for start, end in _runs(is_silent):
        lasting[start:end] = end - start >= SILENCE_SECONDS * FRAMES_PER_SECOND
    return lasting


def _fade_frames(power: np.ndarray) -> int:
    """For how many frames the music, of which the first frame is the last one, fades into the silence behind it."""
    second = round(SILENCE_SECONDS * FRAMES_PER_SECOND)
    longest = min(second, len(power) - 1)
    for frame in range(1, longest + 1):
        quietest = power[frame : frame + second].min()
        if power[frame] <= max(quietest * 10.0 ** (FADE_DB / 10.0), power[frame - 1] * 10.0 ** (-CUT_DB / 10.0)):
            return frame - 1
    return longest


def _extended(start: int, end: int, min_frames: int, n_frames: int) -> Part:
    start = max(0, min(start, n_frames - min_frames))
    return start, min(n_frames, max(end, start + min_frames))


def _runs(is_set: np.ndarray) -> list[Part]:
    edges = np.flatnonzero(np.diff(is_set, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
