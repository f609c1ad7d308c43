"""The boxes of MP4 files, by their headers: a bounded number of them is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ccmusic.audio.audio_file import AudioFile

MOST_BOXES = 10_000
"""More than real files have in front of or inside of the index; a hostile file could have millions."""


class Box(NamedTuple):
    """A box: its kind, and where its content begins and ends in the file."""

    kind: bytes
    begin: int
    end: int


def inside(file: AudioFile, box: Box, *path: bytes) -> Box | None:
    """The first box of each of these kinds, each inside the one before."""
    found: Box | None = box
    for kind in path:
        found = next((inner for inner in boxes(file, found) if inner.kind == kind), None) if found else None
    return found


def boxes(file: AudioFile, outer: Box | None = None) -> Iterator[Box]:
    """The boxes inside of another one, or those of the file."""
    outer = outer or Box(b"", 0, file.size)
    position = outer.begin
    for _ in range(MOST_BOXES):
        head = file.peek(position, 16)
        length, header = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, header = int.from_bytes(head[8:16], "big"), 16
        elif length == 0:  # to the end
            length = outer.end - position
        if len(head) < 8 or length < header or position >= outer.end or file.is_spent:
            return
        yield Box(head[4:8], position + header, min(position + length, outer.end))
        position += length


def begin_of_mp4(file: AudioFile) -> int:
    """Where an MP4 begins that has another box in front of `ftyp`.

    Programs that write such a box do not always move the offsets in the index: they may count from `ftyp`.
    """
    kinds = list(boxes(file))
    first = next((box.begin - 8 for box in kinds if box.kind == b"ftyp"), 0)
    index = next((box for box in kinds if box.kind == b"moov"), None)
    track = inside(file, index, b"trak", b"mdia", b"minf", b"stbl") if first and index else None
    offset = _first_offset(file, track) if track else None
    return first if offset in [box.begin - first for box in kinds if box.kind == b"mdat"] else 0


def _first_offset(file: AudioFile, tables: Box) -> int | None:
    for kind, width in ((b"stco", 4), (b"co64", 8)):
        table = inside(file, tables, kind)
        if table is not None:
            return int.from_bytes(file.peek(table.begin + 8, width), "big")
    return None
