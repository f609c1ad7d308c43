"""Pieces of a file read as one file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import pytest

from ccmusic.audio.audio_file import AudioFile
from ccmusic.audio.budget import Budget
from ccmusic.audio.decode import DecodeLimits

CONTENT = bytes(range(100))


@pytest.fixture
def file() -> Iterator[AudioFile]:
    with Budget(DecodeLimits()) as budget:
        yield AudioFile(io.BytesIO(CONTENT), budget)


@pytest.fixture
def part(file) -> AudioFile:
    return file.part([(10, 13), (20, 20), (30, 40)])


def test_pieces_read_as_one(part):
    assert part.size == 13
    assert part.read(5) == bytes([10, 11, 12, 30, 31])
    assert part.tell() == 5
    assert part.read(99) == bytes(range(32, 40))
    assert part.read(99) == b""
    assert part.seek(-2, os.SEEK_END) == 11
    buffer = bytearray(5)
    assert part.readinto(memoryview(buffer)) == 2
    assert buffer[:2] == bytes([38, 39])


def test_seeking_stays_inside(part):
    assert part.seek(99) == 13
    assert part.seek(-99, os.SEEK_CUR) == 0
    assert part.peek(2, 2) == bytes([12, 30])
    assert part.tell() == 0


def test_the_whole_file_is_no_part(file):
    file.seek(5)
    assert file.part([(0, 100)]) is file
    assert file.tell() == 0


def test_a_part_reads_as_ended_when_the_budget_is_spent(part, monkeypatch):
    monkeypatch.setattr(Budget, "is_spent", True)
    assert part.read(5) == b""
