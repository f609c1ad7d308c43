from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ccmusic.batch.outcome import GONE
from ccmusic.batch.walk import FoundFile, look_at
from ccmusic.batch.watch import arrivals
from ccmusic.errors import PackageMissing
from support.waiting import PATIENCE_SECONDS

STILL_SECONDS = 0.3


class _OutOfPatience(Exception):
    pass


class Watch:
    """A watch whose catalogue knows what it has yielded."""

    def __init__(self, folder: Path, **options: float) -> None:
        self.known: dict[bytes, FoundFile] = {}
        self._looks = itertools.count()
        self._folder = folder
        self._groups = arrivals([folder], self._is_known, self._check, still_seconds=STILL_SECONDS, **options)
        self._calls: Iterator[Callable[[], object]] = iter(())

    def _is_known(self, file: FoundFile) -> bool:
        known = self.known.get(file.path)
        return (known is None or known.skipped is not None) if file.skipped else known == file

    def _check(self) -> None:
        next(self._calls)()
        if next(self._looks) > PATIENCE_SECONDS:  # a look takes half a second at most, on an idle machine
            raise _OutOfPatience

    def next(self, do: Callable[[], object], times: int = 1) -> list[FoundFile]:
        """The next arrivals; `do` is called at the first looks, while the folder is watched."""
        self._calls = itertools.chain([do] * times, itertools.repeat(lambda: None))
        group = next(self._groups)
        self.known |= {file.path: file for file in group}
        return group

    def names(self, do: Callable[[], object] = lambda: None) -> set[tuple[str, str | None]]:
        """The names of the next arrivals, and why they are skipped."""
        below = os.fsencode(self._folder)
        return {(os.fsdecode(os.path.relpath(file.path, below)), file.skipped) for file in self.next(do)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "music").mkdir()
    return tmp_path / "music"


def test_what_comes_changes_and_vanishes_is_named(folder: Path) -> None:
    watch = Watch(folder)
    assert watch.names((folder / "a.mp3").touch) == {("a.mp3", None)}
    assert watch.names(lambda: (folder / "a.mp3").write_bytes(b"1")) == {("a.mp3", None)}
    assert watch.names((folder / "a.mp3").unlink) == {("a.mp3", GONE)}


def test_what_came_before_the_watch_is_found_by_the_first_walk(folder: Path) -> None:
    for name in ("a.mp3", "known.mp3", "notes.txt", ".hidden.mp3"):
        (folder / name).touch()
    watch = Watch(folder)
    watch.known[bytes(folder / "known.mp3")] = look_at(bytes(folder / "known.mp3"))
    assert watch.names() == {("a.mp3", None)}


def test_a_folder_that_is_moved_here_is_looked_through_and_what_is_hidden_is_not(folder: Path, tmp_path: Path) -> None:
    for name in ("disc/b.ogg", "disc/deep/c.wav", "disc/.git/d.wav", "disc/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (folder / ".cache").mkdir()

    def move() -> None:
        (folder / ".cache" / "x.mp3").touch()
        (tmp_path / "disc").rename(folder / "disc")

    assert Watch(folder).names(move) == {("disc/b.ogg", None), ("disc/deep/c.wav", None)}


def test_a_file_is_taken_when_it_is_no_longer_written(folder: Path) -> None:
    def write() -> None:
        with (folder / "a.mp3").open("ab") as file:
            file.write(b"1")

    (file,) = Watch(folder).next(write, times=6)
    assert file.size == 6


def test_a_watch_without_its_package_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(PackageMissing, match=r"ccmusic\[batch\]"):
        next(arrivals([folder], lambda _: True, lambda: None))
