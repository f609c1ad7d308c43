import os
from pathlib import Path

import pytest

from ccmusic.commands.recordings import find_recordings


@pytest.fixture
def folder(tmp_path):
    for name in ("b.mp3", "a.FLAC", "notes.txt", ".hidden.mp3", "disc/c.ogg", ".git/d.mp3", "empty/readme.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(*paths):
    return [(path, None if error is None else str(error)) for path, error in find_recordings(paths)]


def test_a_folder_becomes_its_recordings_in_sorted_order(folder):
    assert found(folder) == [(folder / name, None) for name in ("a.FLAC", "b.mp3", "disc/c.ogg")]


def test_a_named_file_stays_whatever_its_suffix(folder):
    paths = [folder / "notes.txt", folder / ".hidden.mp3", Path("absent")]
    assert found(*paths) == [(path, None) for path in paths]


def test_the_order_of_the_arguments_stays(folder):
    paths = [folder / "disc", folder / "b.mp3", folder / "disc"]
    assert [path.name for path, _ in found(*paths)] == ["c.ogg", "b.mp3", "c.ogg"]


def test_a_folder_without_recordings_is_reported(folder):
    assert found(folder / "empty") == [(folder / "empty", "folder has no recordings")]


def test_a_folder_that_cannot_be_read_is_reported(folder, monkeypatch):
    scandir = os.scandir

    def locked(path):
        if Path(path).name == "disc":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert found(folder)[-1] == (folder / "disc", "folder cannot be read: Permission denied")
