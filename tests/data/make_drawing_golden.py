"""Write ``drawing_golden.npz``: matplotlib's drawings of ``windows_db.py``, for machines without matplotlib.

Usage: ``python tests/data/make_drawing_golden.py`` with librosa 0.11, matplotlib and Pillow installed. Needed again
only when the windows change.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import PIL
from matplotlib_drawing import raster, resized
from PIL import features
from windows_db import computed_windows

RESIZED = "cqt"
SIZE = (112, 96)  # smaller than a network's input, to keep the file small


def main() -> None:
    codec = features.version("libjpeg_turbo")
    versions = f"matplotlib {mpl.__version__}, Pillow {PIL.__version__}, libjpeg-turbo {codec}"
    windows = computed_windows()
    arrays = {f"raster/{name}": raster(window) for name, window in windows.items()}
    arrays[f"resized/{RESIZED}"] = resized(windows[RESIZED], SIZE)
    path = Path(__file__).with_name("drawing_golden.npz")
    np.savez_compressed(path, versions=np.array(versions), **arrays)
    print(f"{path.name}: {len(arrays)} arrays, {path.stat().st_size / 1024:.0f} KB, {versions}")


if __name__ == "__main__":
    main()
