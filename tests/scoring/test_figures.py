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


def test_missing_characters_of_the_labels_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(mpl.rcParams, "font.family", ["DejaVu Sans"])
    assert _draw(tmp_path, ("民谣", "摇滚")).startswith(b"\x89PNG")
    assert "no installed font has all characters of the labels: install Noto Sans CJK SC" in caplog.text
    caplog.clear()
    _draw(tmp_path, ("folk", "rock"))
    assert caplog.text == ""


def test_equal_data_give_equal_bytes(tmp_path: Path) -> None:
    assert _draw(tmp_path, ("folk", "rock")) == _draw(tmp_path, ("folk", "rock"))
