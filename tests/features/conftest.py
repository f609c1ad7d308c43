"""The references that spectrograms and pictures are compared with, where they are installed."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="session")
def librosa():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa's imports warn of other packages' deprecations
        return pytest.importorskip("librosa")


@pytest.fixture(scope="session")
def matplotlib_drawing(librosa) -> SimpleNamespace:
    """`raster` and `jpeg` of tests/data/matplotlib_drawing.py."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so do matplotlib's
        pytest.importorskip("matplotlib")
        return SimpleNamespace(**runpy.run_path(str(DATA / "matplotlib_drawing.py")))
