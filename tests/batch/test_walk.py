from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from ccmusic.batch import walk
from ccmusic.batch.walk import FoundFile, find_files, look_at
from ccmusic.errors import InvalidParameter


@pytest.fixture
def music(tmp_path: Path) -> Path:
    for name in ("a.mp3", "b.FLAC", "notes.txt", ".hidden.mp3", "disc/c.ogg", "disc/deep/d.wav", ".git/e.mp3"):
        (tmp_path / "music" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "music" / name).write_bytes(b"1234")
    return tmp_path / "music"


def names(found: Iterator[FoundFile], below: Path) -> set[str]:
    files = list(found)
    assert all(file.skipped is None for file in files)
    assert len({file.path for file in files}) == len(files)
    return {os.fsdecode(os.path.relpath(file.path, os.fsencode(below))) for file in files}


def reasons(found: Iterator[FoundFile]) -> dict[str, str | None]:
    return {Path(os.fsdecode(file.path)).name: file.skipped for file in found}


def test_a_folder_stands_for_the_recordings_below_it(music: Path) -> None:
    assert names(find_files([str(music)]), music) == {"a.mp3", "b.FLAC", "disc/c.ogg", "disc/deep/d.wav"}


def test_a_file_has_its_size_and_the_time_of_its_change(music: Path) -> None:
    os.utime(music / "a.mp3", ns=(0, 1_234_567_890_123_456_789))
    assert list(find_files([str(music / "a.mp3")])) == [
        FoundFile(os.fsencode(music / "a.mp3"), 4, 1_234_567_890_123_456_789)
    ]


def test_a_named_file_stays_whatever_its_suffix(music: Path) -> None:
    assert names(find_files([str(music / "notes.txt"), str(music / ".hidden.mp3")]), music) == {
        "notes.txt",
        ".hidden.mp3",
    }


def test_paths_are_absolute_and_a_name_need_not_be_utf_8(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.mp3")).touch()
    with chdir(tmp_path):
        assert [file.path for file in find_files(["."])] == [os.fsencode(tmp_path) + b"/caf\xe9.mp3"]


def test_links_to_files_are_followed_and_links_to_folders_inside_of_a_folder_are_not(music: Path) -> None:
    (music / "disc" / "loop.mp3").symlink_to(music)
    (music / "disc" / "loop").symlink_to(music, target_is_directory=True)
    (music / "link.mp3").symlink_to(music / "a.mp3")
    assert names(find_files([str(music)]), music) == {
        "a.mp3",
        "b.FLAC",
        "link.mp3",
        "disc/c.ogg",
        "disc/deep/d.wav",
    }


def test_an_argument_that_is_a_link_to_a_folder_is_followed(music: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(music / "disc", target_is_directory=True)
    assert names(find_files([str(tmp_path / "link")]), tmp_path) == {"link/c.ogg", "link/deep/d.wav"}


def test_what_is_no_regular_file_is_skipped_with_the_reason_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "self.mp3").symlink_to(tmp_path / "self.mp3")
    (tmp_path / "dangling.mp3").symlink_to(tmp_path / "nowhere")
    (tmp_path / "device.mp3").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as server, chdir(tmp_path):
        server.bind("socket.mp3")
        assert reasons(find_files(["."])) == {
            "pipe.mp3": "is a pipe",
            "self.mp3": "cannot be read: Too many levels of symbolic links",
            "dangling.mp3": "does not exist",
            "device.mp3": "is a device",
            "socket.mp3": "is a socket",
        }


def test_a_folder_that_cannot_be_read_is_skipped_and_the_others_are_walked(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def locked(path: bytes) -> object:
        if path.endswith(b"/deep"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(walk.os, "scandir", locked)
    assert reasons(find_files([str(music)])) == {
        "a.mp3": None,
        "b.FLAC": None,
        "c.ogg": None,
        "deep": "the folder cannot be read: Permission denied",
    }


def test_files_that_vanish_while_a_folder_is_walked_are_skipped(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def vanishing(path: bytes) -> FoundFile:
        Path(os.fsdecode(path)).unlink()
        return look_at(path)

    monkeypatch.setattr(walk, "look_at", vanishing)
    assert set(reasons(find_files([str(music)])).values()) == {"does not exist"}


def test_an_absent_file_is_skipped(tmp_path: Path) -> None:
    names = [str(tmp_path / "absent.mp3"), str(tmp_path / ("x" * 300))]
    assert reasons(find_files(names)) == {
        "absent.mp3": "does not exist",
        "x" * 300: "cannot be read: File name too long",
    }


def test_a_pattern_stands_for_the_recordings_that_it_matches(music: Path) -> None:
    (music / "disc" / "loop").symlink_to(music, target_is_directory=True)
    assert names(find_files([str(music / "**" / "*")]), music) == {"a.mp3", "b.FLAC", "disc/c.ogg", "disc/deep/d.wav"}
    with chdir(music):
        assert names(find_files(["*/*.ogg"]), music) == {"disc/c.ogg"}


def test_a_name_with_the_characters_of_a_pattern_is_a_name_if_it_exists(tmp_path: Path) -> None:
    (tmp_path / "a [live].mp3").touch()
    assert names(find_files([str(tmp_path / "a [live].mp3")]), tmp_path) == {"a [live].mp3"}


def test_a_pattern_that_matches_nothing_is_refused(music: Path) -> None:
    with pytest.raises(InvalidParameter, match="matches no recording"):
        list(find_files([str(music / "*.txt")]))


def test_a_list_stands_for_its_files(music: Path, tmp_path: Path) -> None:
    (tmp_path / "all.m3u8").write_text("music/a.mp3\nmusic\nmusic/none.mp3\n")
    assert reasons(find_files([str(tmp_path / "all.m3u8")])) == {
        "a.mp3": None,
        "music": "is a folder",
        "none.mp3": "does not exist",
    }


def test_the_walk_keeps_no_files_in_memory(tmp_path: Path, open_entries: Callable[[], int]) -> None:
    for number in range(300):
        (tmp_path / f"{number}.mp3").touch()
    found = find_files([str(tmp_path)])
    for _ in range(10):
        next(found)
    assert open_entries() <= 10


@pytest.fixture
def open_entries(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """The number of entries of folders that were taken."""
    taken = [0]
    real = os.scandir

    class Counted:
        def __init__(self, path: bytes) -> None:
            self._real = real(path)

        def __enter__(self) -> Iterator[os.DirEntry[bytes]]:
            return self._entries()

        def __exit__(self, *_: object) -> None:
            self._real.close()

        def _entries(self) -> Iterator[os.DirEntry[bytes]]:
            for entry in self._real:
                taken[0] += 1
                yield entry

    monkeypatch.setattr(walk.os, "scandir", Counted)
    return lambda: taken[0]
