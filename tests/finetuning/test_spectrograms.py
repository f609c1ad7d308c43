from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ccmusic.audio.decode import DecodeLimits, decode
from ccmusic.finetuning import spectrograms as module
from ccmusic.finetuning.base_model import BaseModel
from ccmusic.finetuning.spectrograms import Spectrogram, cached_spectrograms
from ccmusic.inference.front_end import FrontEnd


def _make(paths: list[Path], directory: Path, start: BaseModel) -> list[Spectrogram]:
    found, refused = cached_spectrograms(paths, directory, start.card, jobs=1, limits=DecodeLimits())
    assert refused == {}
    return [spectrogram for spectrogram in found if spectrogram is not None]


def test_equals_the_services_within_a_quarter_decibel(tones: Path, tmp_path: Path, start: BaseModel) -> None:
    path = next(tones.rglob("1.wav"))
    (kept,) = _make([path], tmp_path, start)
    heard = decode(path)
    expected = FrontEnd(start.card).spectrogram_db(heard.waveform)
    assert kept.duration_seconds == heard.duration_seconds
    assert kept.n_frames == expected.shape[1]
    np.testing.assert_allclose(kept.read(), expected, atol=0.251)
    np.testing.assert_array_equal(kept.read(3, 9), kept.read()[:, 3:9])


def test_a_cached_spectrogram_is_used(tones: Path, tmp_path: Path, start: BaseModel) -> None:
    path = next(tones.rglob("0.wav"))
    (made,) = _make([path], tmp_path, start)
    marked = np.load(made.file)
    marked[0, 0] = 77
    np.save(made.file, marked)
    copy = tmp_path / "same content, another name.wav"
    copy.write_bytes(path.read_bytes())
    (found,) = _make([copy], tmp_path, start)
    assert found == made
    assert np.load(found.file)[0, 0] == 77


@pytest.mark.parametrize("harm", ["cut", "no length"])
def test_an_incomplete_cache_entry_is_replaced(tones: Path, tmp_path: Path, start: BaseModel, harm: str) -> None:
    path = next(tones.rglob("0.wav"))
    (made,) = _make([path], tmp_path, start)
    whole = made.read()
    if harm == "cut":
        os.truncate(made.file, 1000)
    else:
        made.file.with_name(f"{made.file.name}.seconds").unlink()
    (again,) = _make([path], tmp_path, start)
    np.testing.assert_array_equal(again.read(), whole)
    assert not list(tmp_path.glob("*.part*"))


def test_unreadable_files_are_reported(tmp_path: Path, start: BaseModel) -> None:
    broken, absent = tmp_path / "broken.mp3", tmp_path / "absent.mp3"
    broken.write_bytes(b"no recording")
    told: list[None] = []
    found, refused = cached_spectrograms(
        [broken, absent],
        tmp_path / "kept",
        start.card,
        jobs=1,
        limits=DecodeLimits(),
        on_done=lambda: told.append(None),
    )
    assert found == [None, None]
    assert "text file" in refused[broken]
    assert "No such file" in refused[absent]
    assert len(told) == 2


def test_the_format_is_part_of_the_name(tones: Path, tmp_path: Path, start: BaseModel) -> None:
    (made,) = _make([next(tones.rglob("0.wav"))], tmp_path, start)
    assert module.FORMAT in made.file.name
