"""The image of a spectrogram that is the input of some networks, equal to matplotlib's, without matplotlib.

Their training images were drawn by ``librosa.display.specshow(window)`` on a figure of matplotlib's default size, saved
as JPEG by ``savefig(bbox_inches="tight", pad_inches=0)`` with the axes off, read again and resized. The drawing is
part of the network's input: it stretches the window to 496 x 369 pixels without interpolation, takes the range of the
colours from the window, and has the losses of JPEG.

Three facts make a canvas unnecessary:

* Agg moves the edges of a mesh's cells to whole pixels. So each pixel shows one cell, which depends on the pixel's row
  and column alone.
* A value becomes one of 256 colours in single-precision steps (``matplotlib.colors.Normalize`` and ``Colormap``).
* ``savefig`` passes the canvas to Pillow; here Pillow encodes, decodes and resizes as well.

docs/drawing-parity.md has the comparison and the times; ``bench/drawing.py`` measures them.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import Image

from ccmusic.errors import InvalidParameter
from ccmusic.features.magma import MAGMA

__all__ = ["HEIGHT", "WIDTH", "draw", "network_picture", "save_jpeg"]

DOTS_PER_INCH = 100  # rcParams["figure.dpi"]
WIDTH = 496  # pixels: rcParams["figure.figsize"] is 640 x 480, of which the axes take 0.125 to 0.9 ...
HEIGHT = 369  # ... and 0.11 to 0.88: 369.6, of which the tight figure keeps whole pixels

# The axes' height and lower edge on the tight figure, in pixels, with the rounding of matplotlib's own sums (to inches
# and back): this rounding decides where a cell's edge is exactly between two pixels.
AXES_HEIGHT = 0.88 * 480 - 0.11 * 480
AXES_BOTTOM = 0.11 * 480 - 0.11 * 480 * (1 / DOTS_PER_INCH) * DOTS_PER_INCH

# ToTensor, then Normalize((0.5,) * 3, (0.5,) * 3), for each of a channel's 256 values.
_SCALED = (np.arange(256, dtype=np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)


def draw(window_db: np.ndarray) -> np.ndarray:
    """Draw a spectrogram as matplotlib does: colour map magma from the window's minimum to its maximum.

    Equals what ``librosa.display.specshow(window_db)``, ``plt.axis("off")`` and ``plt.savefig(..., bbox_inches="tight",
    pad_inches=0.0)`` write to a lossless file, with librosa 0.11 and matplotlib 3.11. A window of one frame or one bin
    fills the image, while matplotlib leaves it white. A constant window has the darkest colour.

    Parameters
    ----------
    window_db : np.ndarray [shape=(bins, frames), dtype=float32]
        In dB; the lowest frequency is row 0. Other types are converted.

    Returns
    -------
    np.ndarray [shape=(369, 496, 3), dtype=uint8]
        Red, green and blue; row 0 is the top, where the highest frequency is.

    Raises
    ------
    InvalidParameter
        The window is not two-dimensional, is empty, or contains NaN or infinity.
    """
    if window_db.ndim != 2 or not window_db.size:
        raise InvalidParameter("window_db", f"must be [bins, frames] and not empty, not of shape {window_db.shape}")
    window_db = window_db.astype(np.float32, copy=False)
    lowest, highest = float(window_db.min()), float(window_db.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):  # NaN passes through min and max
        raise InvalidParameter("window_db", "must be finite; it contains NaN or infinity")
    rows, columns = _shown_cells(*window_db.shape)
    colours = MAGMA[_colour_indices(window_db, lowest, highest)[:, columns]]
    picture: np.ndarray = colours[rows]
    return picture


def save_jpeg(window_db: np.ndarray, file: BinaryIO) -> None:
    """Draw a spectrogram into a JPEG file, byte for byte as matplotlib with the same Pillow.

    Parameters
    ----------
    window_db : np.ndarray [shape=(bins, frames), dtype=float32]
        In dB; the lowest frequency is row 0.
    file : binary file, open for writing

    Raises
    ------
    InvalidParameter
        See `draw`.
    """
    Image.fromarray(draw(window_db)).save(file, "JPEG", dpi=(DOTS_PER_INCH, DOTS_PER_INCH))


def network_picture(window_db: np.ndarray, size: tuple[int, int] = (224, 224)) -> np.ndarray:
    """The drawn window as the network's input: through JPEG, resized, and scaled to -1..1.

    Equals ``Resize``, ``ToTensor`` and ``Normalize(0.5, 0.5)`` of torchvision on the file that matplotlib saves (see
    `draw`). Exact with the same Pillow; another version may have another libjpeg, with other pixels.

    Parameters
    ----------
    window_db : np.ndarray [shape=(bins, frames), dtype=float32]
        In dB; the lowest frequency is row 0.
    size : (int, int)
        Height and width of the network's input, in pixels.

    Returns
    -------
    np.ndarray [shape=(3, height, width), dtype=float32]
        Red, green and blue, each (x - 0.5) / 0.5 of x between 0 and 1.

    Raises
    ------
    InvalidParameter
        See `draw`; or `size` is not positive.
    """
    height, width = size
    if height < 1 or width < 1:
        raise InvalidParameter("size", f"must be at least 1 x 1 pixels, not {height} x {width}")
    file = BytesIO()
    save_jpeg(window_db, file)
    picture = Image.open(file).resize((width, height), Image.Resampling.BILINEAR)
    scaled: np.ndarray = _SCALED.take(np.asarray(picture).transpose(2, 0, 1))
    return scaled


def _colour_indices(window_db: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """Which of the 256 colours each value has [bins, frames], uint8."""
    if lowest == highest:
        return np.zeros(window_db.shape, dtype=np.uint8)
    # In single precision with double-precision limits, with matplotlib's rounding in each step, so that a value on the
    # border between two colours gets the same colour.
    share = window_db.copy()
    share -= np.float64(lowest)
    share /= np.float64(highest) - np.float64(lowest)
    share *= 256
    indices: np.ndarray = np.minimum(share, 255).astype(np.uint8)
    return indices


@lru_cache(maxsize=32)  # all windows of a recording have the same shape
def _shown_cells(n_bins: int, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """The bin of each row of the image [369], and the frame of each column [496]."""
    scale, offset = _placed(n_frames, WIDTH, 0.0)
    left_edges = _snapped_edges(n_frames, scale, offset)
    columns = np.searchsorted(left_edges, np.arange(WIDTH), side="right") - 1
    # Agg's rows count downwards from the top of a canvas of whole pixels.
    scale, offset = _placed(n_bins, AXES_HEIGHT, AXES_BOTTOM)
    upper_edges = _snapped_edges(n_bins, -scale, HEIGHT - offset)[::-1]
    rows = n_bins - np.searchsorted(upper_edges, np.arange(HEIGHT), side="right")
    rows.flags.writeable = columns.flags.writeable = False
    return rows, columns


def _placed(n_cells: int, extent: float, begin: float) -> tuple[float, float]:
    """Scale and offset that map -0.5 to `begin` and n - 0.5 to `begin` + `extent`, in matplotlib's order of sums."""
    share = 1.0 / n_cells
    return extent * share, extent * (0.5 * share) + begin


def _snapped_edges(n_cells: int, scale: float, offset: float) -> np.ndarray:
    """The n + 1 edges of a mesh's cells, with cell i around i, in whole pixels as in Agg's ``PathSnapper``."""
    positions = (np.arange(n_cells + 1) - 0.5) * scale + offset
    pixels: np.ndarray = np.floor(positions + 0.5).astype(np.intp)
    return pixels
