from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from ccmusic.scoring import figures

REFERENCE = np.array([0, 1])


def _draw(directory: Path, labels: tuple[str, str]) -> bytes:
    figures.confusion(REFERENCE, np.eye(2), directory / "confusion.png", labels)
    return (directory / "confusion.png").read_bytes()


def test_a_font_that_lacks_the_labels_characters_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(mpl.rcParams, "font.family", ["DejaVu Sans"])
    assert _draw(tmp_path, ("民谣", "摇滚")).startswith(b"\x89PNG")
    assert "no font here has every character of the labels: install Noto Sans CJK SC" in caplog.text
    caplog.clear()
    _draw(tmp_path, ("folk", "rock"))
    assert caplog.text == ""


def test_the_same_figures_give_the_same_bytes(tmp_path: Path) -> None:
    assert _draw(tmp_path, ("folk", "rock")) == _draw(tmp_path, ("folk", "rock"))
