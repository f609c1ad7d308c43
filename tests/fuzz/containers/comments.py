"""The list of comments (tags) that Vorbis, Opus and FLAC share: a producer, a count, and texts with their lengths."""

from __future__ import annotations

import struct

from fuzz.part import Part, copies

COMMENT = b"comment"


def read_comments(content: bytes, at: int, kind: bytes) -> Part | None:
    """The list that begins at `at`; None if it is none. What comes after it is a part of its own."""
    try:
        (size,) = struct.unpack_from("<I", content, at)
        first = at + 4 + size
        (count,) = struct.unpack_from("<I", content, first)
        end, parts = first + 4, []
        for _ in range(count):
            (size,) = struct.unpack_from("<I", content, end)
            parts.append(Part(COMMENT, content[end + 4 : end + 4 + size]))
            end += 4 + size
    except struct.error:
        return None
    if end < len(content):
        parts.append(Part(b"rest", content[end:]))
    return Part(kind, content[:first], parts)


def write_comments(part: Part) -> bytes:
    """The bytes of the list."""
    count, pieces = 0, []
    for inner in part.parts:
        if inner.kind == b"rest":
            pieces += copies(inner, lambda _, content: content)
            continue
        count += inner.times
        pieces += copies(inner, _frame)
    return (
        part.body + (count if part.declared is None else part.declared % 2**32).to_bytes(4, "little") + b"".join(pieces)
    )


def _frame(part: Part, content: bytes) -> bytes:
    size = len(content) if part.declared is None else part.declared % 2**32
    return size.to_bytes(4, "little") + content
