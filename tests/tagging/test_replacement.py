"""The lock of a file that is about to be replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccmusic.errors import TagError
from ccmusic.tagging.replacement import locked
from support.locks import no_locks


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song"
    path.touch()
    return path


def test_a_file_that_another_command_changes_is_left(song: Path) -> None:
    with locked(song), pytest.raises(TagError, match="Another command"), locked(song):
        pytest.fail("two commands at once")
    with locked(song):
        pass


def test_on_a_share_without_locks_a_file_can_be_changed(song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_locks(monkeypatch)
    with locked(song) as about:
        assert about.st_ino == song.stat().st_ino
