"""Network inputs made of real recordings."""

from __future__ import annotations

import numpy as np
import pytest

from ccmusic.checkpoints.real_windows import real_windows, recordings
from ccmusic.errors import InvalidParameter
from ccmusic.features.cqt import FRAMES_PER_SECOND
from ccmusic.models.card import Card, read_card
from support.bands_model import write_model
from support.recordings import tone, wav


@pytest.fixture
def card(tmp_path) -> Card:
    """Windows of 2 s."""
    return read_card(write_model(tmp_path / "model") / "card.json")


def write(directory, **waveforms):
    directory.mkdir(exist_ok=True)
    for name, waveform in waveforms.items():
        (directory / f"{name}.wav").write_bytes(wav(waveform))
    return recordings(directory)


def test_recordings_are_found_in_subdirectories_by_their_suffix(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / ".trash").mkdir()
    for name in ("z.MP3", "a/b/x.flac", "a/notes.txt", "a/.part.mp3", ".trash/y.mp3"):
        (tmp_path / name).touch()
    assert recordings(tmp_path) == [tmp_path / "a" / "b" / "x.flac", tmp_path / "z.MP3"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidParameter, match=r"import_audio has no recording: .*empty"):
        recordings(tmp_path / "empty")


def test_without_a_directory_the_examples_of_the_package_are_used():
    assert recordings(None)


def test_windows_of_all_recordings_alternate(tmp_path, card):
    files = write(tmp_path / "audio", high=tone(880, 7), low=tone(110, 7))
    windows = real_windows(card, files, 5)
    assert windows.dtype == np.float32 and len(windows) == 5
    loudest_bin = windows.mean(axis=2).argmax(axis=1)
    assert (loudest_bin[::2] == loudest_bin[0]).all() and (loudest_bin[1::2] == loudest_bin[1]).all()
    assert loudest_bin[0] == loudest_bin[1] + 36  # three octaves


def test_a_window_has_the_length_that_the_card_names(tmp_path, card):
    (window,) = real_windows(card, write(tmp_path / "audio", one=tone(440, 3)), 1)
    assert window.shape == (84, 1 + int(card.window_seconds * FRAMES_PER_SECOND))


def test_broken_and_short_files_are_skipped(tmp_path, card, caplog):
    files = write(tmp_path / "audio", long=tone(440, 5), short=tone(440, 1))
    (tmp_path / "audio" / "broken.wav").write_bytes(b"RIFF")
    done = []
    assert len(real_windows(card, recordings(tmp_path / "audio"), 3, lambda: done.append(1))) == 1
    assert len(done) == 3
    assert "broken.wav is skipped" in caplog.text
    with pytest.raises(InvalidParameter, match=r"no recording of at least 2 s"):
        real_windows(card, [file for file in files if file.stem == "short"], 3)
