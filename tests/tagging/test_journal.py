"""The journal: one process at a time, whole lines only, and every change has an end."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from ccmusic.batch.plan_format import path_of
from ccmusic.errors import InvalidParameter, TagError, TagsInUse
from ccmusic.tagging.journal import HEADER, Journal
from ccmusic.tagging.replacement import content_hash, copy_name, is_copy_name
from support.locks import WITHOUT_LOCKS, no_locks


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song"
    path.write_bytes(b"new content")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_finished_change_is_found_by_the_next_process(path: Path, song: Path) -> None:
    with Journal(path) as journal:
        change = journal.begin(song, copy_name(), before=["old"])
        journal.renaming(change, "f00d")
        journal.done(change)
    with Journal(path) as journal:
        (record,) = journal.finished()
        assert (path_of(record), record["before"], record["content"]) == (song, ["old"], "f00d")


def test_the_newest_change_comes_first_and_numbers_go_on(path: Path, song: Path) -> None:
    for _ in range(2):
        with Journal(path) as journal:
            change = journal.begin(song, copy_name())
            journal.renaming(change, "f00d")
            journal.done(change)
    with Journal(path) as journal:
        assert [record["change"] for record in journal.finished()] == [2, 1]


def test_an_undone_or_dropped_change_is_not_found(path: Path, song: Path) -> None:
    with Journal(path) as journal:
        first = journal.begin(song, copy_name())
        journal.renaming(first, "f00d")
        journal.done(first)
        second = journal.begin(song, copy_name(), undoes=first)
        journal.renaming(second, "cafe")
        journal.done(second)
        journal.dropped(journal.begin(song, copy_name()), "why")
        assert list(journal.finished()) == []
    with Journal(path) as journal:
        assert list(journal.finished()) == []


def test_a_copy_that_was_left_is_removed(path: Path, song: Path) -> None:
    copy = song.with_name(copy_name())
    with Journal(path) as journal:
        journal.renaming(journal.begin(song, copy.name), content_hash(song))
    copy.write_bytes(b"half a copy")
    with Journal(path) as journal:
        assert list(journal.finished()) == []
    assert not copy.exists()
    assert lines(path)[-1]["event"] == "dropped"


def test_what_cannot_be_recovered_is_named_and_not_the_journal(
    path: Path, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = song.with_name(copy_name())
    with Journal(path) as journal:
        journal.renaming(journal.begin(song, copy.name), content_hash(song))
    copy.write_bytes(b"half a copy")

    def read_only(self: Path, **_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", read_only)
        with pytest.raises(TagError, match=f"{copy.name} cannot be recovered .*: Read-only file system"):
            Journal(path)
    with Journal(path):  # it is not locked any longer
        assert not copy.exists()


def test_a_renamed_copy_counts(path: Path, song: Path) -> None:
    with Journal(path) as journal:
        journal.renaming(journal.begin(song, copy_name()), content_hash(song))
    with Journal(path) as journal:
        assert [path_of(record) for record in journal.finished()] == [song]
    assert lines(path)[-1]["event"] == "done"


def test_a_file_that_was_never_renamed_does_not_count(path: Path, song: Path) -> None:
    with Journal(path) as journal:
        journal.renaming(journal.begin(song, copy_name()), "another hash")
    with Journal(path) as journal:
        assert list(journal.finished()) == []


def test_on_a_disk_that_is_not_there_nothing_is_decided(path: Path, tmp_path: Path) -> None:
    song = tmp_path / "disk" / "song"
    with Journal(path) as journal:
        journal.renaming(journal.begin(song, copy_name()), "f00d")
    with Journal(path) as journal:
        assert list(journal.finished()) == []
    assert lines(path)[-1]["event"] == "rename"


@pytest.mark.parametrize("name", ["precious.flac", "../.ccmusic-0.tmp", ".ccmusic-/../precious.tmp"])
def test_only_copies_of_ours_are_removed(name: str, path: Path, song: Path) -> None:
    assert not is_copy_name(name)
    precious = song.with_name("precious.flac")
    precious.write_bytes(b"precious")
    with Journal(path) as journal:
        journal.begin(song, name)
    with Journal(path):
        pass
    assert precious.exists()


@pytest.mark.parametrize("n_bytes", [1, 20])
def test_a_torn_line_is_cut_off(n_bytes: int, path: Path, song: Path) -> None:
    with Journal(path) as journal:
        change = journal.begin(song, copy_name())
        journal.renaming(change, "f00d")
        journal.done(change)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "begin", "change'[:n_bytes])
    with Journal(path) as journal:
        assert len(list(journal.finished())) == 1
        assert path.read_bytes() == whole
        journal.begin(song, copy_name())
    assert lines(path)[-1]["change"] == 2


def test_a_line_that_cannot_be_written_leaves_the_journal_as_it_was(
    path: Path, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with Journal(path) as journal:
        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
            patch.setattr(os, "fsync", full)
            journal.begin(song, copy_name())
        assert path.read_bytes() == HEADER
        journal.dropped(journal.begin(song, copy_name()), "why")
    assert [line.get("event") for line in lines(path)] == [None, "begin", "dropped"]


def test_a_torn_first_line_is_written_again(path: Path) -> None:
    path.write_bytes(HEADER[:10])
    with Journal(path):
        pass
    assert path.read_bytes() == HEADER


@pytest.mark.parametrize(
    "content", [b"fLaC and a whole song", b"{}", b'{"journal": "another program", "version": 1}\n']
)
def test_another_file_is_refused_and_stays(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(InvalidParameter, match="no journal"):
        Journal(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("line", [b"no json\n", b"[]\n", b'{"event": "done"}\n'])
def test_a_damaged_journal_is_refused(line: bytes, path: Path) -> None:
    path.write_bytes(HEADER + line)
    with pytest.raises(InvalidParameter, match="no journal"):
        Journal(path)


def test_only_one_process_has_it(path: Path) -> None:
    with Journal(path), pytest.raises(TagsInUse, match="Another command"):
        Journal(path)
    with Journal(path):
        pass


@pytest.mark.parametrize("number", WITHOUT_LOCKS, ids=errno.errorcode.get)
def test_where_there_are_no_locks_it_is_refused(number: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        no_locks(patch, number)
        with pytest.raises(InvalidParameter, match=rf"cannot be locked: {os.strerror(number)}; .* local disk"):
            Journal(path)
    with Journal(path):
        pass
