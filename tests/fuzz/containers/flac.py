"""FLAC (RFC 9639): blocks of metadata, then frames."""

from __future__ import annotations

import re

from fuzz.containers import Container
from fuzz.containers.comments import read_comments, write_comments
from fuzz.part import Part, copies

FRAME = b"frame"
FRAME_BEGINS = re.compile(rb"(?=\xff[\xf8\xf9])")
COMMENTS = b"\4"
TAG = b"ID3"


def read(content: bytes) -> list[Part]:
    """The blocks, whose kind is one byte, and the frames."""
    at, is_last, parts = 4, False, []
    while not is_last:
        is_last, kind = content[at] > 127, bytes([content[at] & 127])
        size = int.from_bytes(content[at + 1 : at + 4], "big")
        inner = content[at + 4 : at + 4 + size]
        at += 4 + size
        parts.append((read_comments(inner, 0, kind) if kind == COMMENTS else None) or Part(kind, inner))
    return parts + [Part(FRAME, frame) for frame in FRAME_BEGINS.split(content[at:]) if frame]


def write(parts: list[Part]) -> bytes:
    """All of it; the last block is marked as the last, and frames keep the checksums that they had."""
    last = max((place for place, part in enumerate(parts) if part.kind != FRAME), default=-1)
    pieces = [b"fLaC"]
    for place, part in enumerate(parts):
        if part.kind == FRAME:
            pieces += copies(part, lambda _, content: content)
            continue
        blocks = _blocks(part)
        pieces += blocks[:-1]
        pieces += [bytes([block[0] | 128 * (place == last)]) + block[1:] for block in blocks[-1:]]
    return b"".join(pieces)


def _blocks(part: Part) -> list[bytes]:
    if part.kind == COMMENTS:
        return [_frame(Part(COMMENTS), write_comments(part))] * part.times
    return copies(part, _frame)


def _frame(part: Part, content: bytes) -> bytes:
    size = len(content) if part.declared is None else part.declared
    return part.kind[:1] + (size % 2**24).to_bytes(3, "big") + content


FLAC = Container("flac", read, write, "big", tuple(bytes([kind]) for kind in (0, 1, 2, 3, 4, 5, 6, 7, 126)))
