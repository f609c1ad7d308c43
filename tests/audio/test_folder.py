"""Which files of a folder count as recordings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ccmusic.audio.folder import is_recording, recordings_in


@pytest.mark.parametrize("name", [b"a.mp3", b"A.FLAC", b"b.tar.ogg", b"\xff.wav"])
def test_a_known_suffix_in_any_case_is_a_recording(name: bytes) -> None:
    assert is_recording(name)


@pytest.mark.parametrize("name", [b".a.mp3", b"notes.txt", b"mp3", b"a.mp3.part"])
def test_hidden_and_other_files_are_none(name: bytes) -> None:
    assert not is_recording(name)


def test_hidden_folders_and_links_to_folders_are_not_entered(tmp_path: Path) -> None:
    for name in ("a/b/x.mp3", "a/.trash/y.mp3", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "loop.mp3").symlink_to(tmp_path / "a")
    assert list(recordings_in(os.fsencode(tmp_path))) == [os.fsencode(tmp_path / "a/b/x.mp3")]


def test_a_folder_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    [error] = recordings_in(os.fsencode(tmp_path / "absent"))
    assert isinstance(error, FileNotFoundError)
    assert error.filename == os.fsencode(tmp_path / "absent")
