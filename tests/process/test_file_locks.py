"""A lock is taken, held by another, or not possible where the file is."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from ccmusic.process import file_locks
from ccmusic.process.file_locks import NoFileLocks, take_lock
from support.locks import WITHOUT_LOCKS, no_locks


@pytest.fixture
def two(tmp_path: Path):
    """Two descriptors of one file, each opened for itself."""
    path = tmp_path / "file"
    path.touch()
    pair = [os.open(path, os.O_RDWR) for _ in range(2)]
    yield pair
    for descriptor in pair:
        os.close(descriptor)


@pytest.mark.parametrize("shared", [False, True])
def test_an_exclusive_lock_excludes_every_other(two: list[int], shared: bool) -> None:
    assert take_lock(two[0])
    assert not take_lock(two[1], shared=shared)


def test_shared_locks_exclude_only_exclusive_ones(two: list[int]) -> None:
    assert take_lock(two[0], shared=True)
    assert take_lock(two[1], shared=True)
    assert not take_lock(two[1])


def test_a_lock_is_free_when_its_file_is_closed(two: list[int], tmp_path: Path) -> None:
    closed = os.open(tmp_path / "file", os.O_RDWR)
    assert take_lock(closed)
    os.close(closed)
    assert take_lock(two[0])


@pytest.mark.parametrize("waits", [False, True])
def test_it_waits_only_on_request(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[int] = []
    monkeypatch.setattr(file_locks.fcntl, "flock", lambda _, kind: kinds.append(kind))
    assert take_lock(0, waits=waits)
    assert [not kind & fcntl.LOCK_NB for kind in kinds] == [waits]


@pytest.mark.parametrize("number", WITHOUT_LOCKS, ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_an_error_of_its_own(
    number: int, two: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_locks(monkeypatch, number)
    with pytest.raises(NoFileLocks) as caught:
        take_lock(two[0])
    assert (caught.value.errno, caught.value.strerror) == (number, os.strerror(number))
