"""A small image of a spectrogram for people: the page draws it."""

from __future__ import annotations

import numpy as np

__all__ = ["DISPLAY_COLUMNS", "display_image"]

DISPLAY_COLUMNS = 1200
"""Largest width of an image."""


def display_image(spectrogram_db: np.ndarray) -> np.ndarray:
    """Shrink a spectrogram to at most `DISPLAY_COLUMNS` columns and scale -80..0 dB to 0..255.

    Each column is the maximum of the frames that it covers, so that short sounds stay visible.

    Parameters
    ----------
    spectrogram_db : np.ndarray [shape=(bins, frames), dtype=float32]
        Between -80 and 0.

    Returns
    -------
    np.ndarray [shape=(bins, columns), dtype=uint8]
    """
    n_frames = spectrogram_db.shape[1]
    if n_frames > DISPLAY_COLUMNS:
        starts = np.linspace(0, n_frames, DISPLAY_COLUMNS, endpoint=False).astype(int)
        spectrogram_db = np.maximum.reduceat(spectrogram_db, starts, axis=1)
    return np.clip((spectrogram_db + 80.0) * (255.0 / 80.0), 0, 255).astype(np.uint8)
