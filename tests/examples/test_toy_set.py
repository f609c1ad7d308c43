"""The toy set: what it promises of its files, and the same bytes each time."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from ccmusic.evaluation.labelled_data import read_labelled

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "own_data" / "toy_set.py"


@pytest.fixture(scope="module")
def toy_set() -> ModuleType:
    spec = importlib.util.spec_from_file_location("toy_set", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_folders_and_csv_agree(toy_set: ModuleType, tmp_path: Path) -> None:
    table = toy_set.make(tmp_path / "toy", artists=2, takes=2, seconds=1.0)
    by_csv, by_folder = read_labelled(table), read_labelled(tmp_path / "toy")
    assert by_csv.labels == by_folder.labels == ("chords", "drums", "noise")
    assert {(r.path, r.label) for r in by_csv.recordings} == {(r.path, r.label) for r in by_folder.recordings}
    assert len(by_csv) == 12
    assert by_csv.has_artists
    assert {r.columns["half"] for r in by_csv.recordings} == {"first", "second"}
    for recording in by_csv.recordings:
        waveform, sample_rate = soundfile.read(recording.path)
        assert (len(waveform), sample_rate) == (22050, 22050)
        assert np.abs(waveform).max() == pytest.approx(0.7, abs=1e-3)


def test_the_set_is_reproducible_and_has_no_duplicates(toy_set: ModuleType, tmp_path: Path) -> None:
    for name in ("first", "second"):
        toy_set.make(tmp_path / name, artists=2, takes=2, seconds=0.5)
    files = sorted((tmp_path / "first").rglob("*.wav"))
    contents = [file.read_bytes() for file in files]
    assert contents == [(tmp_path / "second" / file.relative_to(tmp_path / "first")).read_bytes() for file in files]
    assert len(set(contents)) == len(contents)
