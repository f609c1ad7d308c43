"""What ``ccmusic.features.image`` replaces, as in ccMusic's own app: librosa, matplotlib, a JPEG file.

Used by the script for the golden drawings, the tests and ``bench/drawing.py``.
"""

from __future__ import annotations

from io import BytesIO

import matplotlib as mpl

mpl.use("Agg")

import librosa.display
import numpy as np
from matplotlib import pyplot as plt
from PIL import Image


def save_figure(window_db: np.ndarray, file_format: str) -> BytesIO:
    """The file that ``savefig`` writes with matplotlib's default settings."""
    file = BytesIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        librosa.display.specshow(window_db)
        plt.axis("off")
        plt.savefig(file, format=file_format, bbox_inches="tight", pad_inches=0.0)
        plt.close()
    return file


def raster(window_db: np.ndarray) -> np.ndarray:
    """The picture before JPEG [369, 496, 3], uint8."""
    return np.asarray(Image.open(save_figure(window_db, "png")).convert("RGB"))


def jpeg(window_db: np.ndarray) -> bytes:
    """The file's bytes."""
    return save_figure(window_db, "jpg").getvalue()


def resized(window_db: np.ndarray, size: tuple[int, int] = (224, 224)) -> np.ndarray:
    """The file, read again and resized as torchvision does [height, width, 3], uint8."""
    picture = Image.open(save_figure(window_db, "jpg")).convert("RGB")
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR))


def network_picture(window_db: np.ndarray, size: tuple[int, int] = (224, 224)) -> np.ndarray:
    """The result of torchvision's ``ToTensor`` and ``Normalize`` [3, height, width], float32."""
    channels = resized(window_db, size).transpose(2, 0, 1)
    half = np.float32(0.5)
    return (channels.astype(np.float32) / np.float32(255) - half) / half
