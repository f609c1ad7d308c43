"""Computed windows in dB for testing the drawing: integers and one division, so the same on every machine.

Shared by the golden pictures' script and the tests.
"""

from __future__ import annotations

import numpy as np

FRAMES_IN_A_WINDOW = 490  # in 11.4 s, as upstream counts them


def _pattern(n_bins: int, n_frames: int) -> np.ndarray:
    """Stripes and a little noise, between -80 and 0 dB."""
    bins, frames = np.arange(n_bins)[:, np.newaxis], np.arange(n_frames)
    noise = np.random.PCG64(n_bins * 10_000 + n_frames).random_raw(n_bins * n_frames) % np.uint64(4)
    height = (bins * 37 + frames // 9 * 411 + noise.reshape(n_bins, n_frames).astype(np.int64) * 60) % 3201
    return -height / 40.0


def _ramp(n_bins: int, n_frames: int) -> np.ndarray:
    """All values are different, and many are on the border between two colours."""
    return (np.arange(n_bins * n_frames).reshape(n_bins, n_frames) - n_bins * n_frames) / 512.0


def computed_windows() -> dict[str, np.ndarray]:
    """Name to window [bins, frames], float32, in dB."""
    windows = {
        "cqt": _pattern(84, FRAMES_IN_A_WINDOW),
        "mel": _pattern(128, FRAMES_IN_A_WINDOW + 1),
        "ramp": _ramp(84, FRAMES_IN_A_WINDOW),
        "half_a_second": _pattern(84, 22),
        "edges_midway_between_pixels": _pattern(128, 448),
        "more_frames_than_pixels": _pattern(84, 1500),
        "quiet": _pattern(84, 60) / 4 - 60,
        "two_frames": _pattern(84, 2),
        "constant": np.full((84, 40), -80.0),
    }
    return {name: window.astype(np.float32) for name, window in windows.items()}
