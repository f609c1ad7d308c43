"""ASF (WMA): objects, each with an identity of 16 bytes and a size of 8 that counts both."""

from __future__ import annotations

from uuid import UUID

from fuzz.containers import Container
from fuzz.part import Part, write

HEADER_BYTES = 24
INNER_AT = {
    UUID("75b22630-668e-11cf-a6d9-00aa0062ce6c").bytes_le: 6,  # the header: how many objects are in it
    UUID("5fbf03b5-a92e-11cf-8ee3-00c00c205365").bytes_le: 22,  # the extension of the header
}
"""Where the inner objects of an object begin in its content."""
KINDS = tuple(
    UUID(name).bytes_le
    for name in (
        "8cabdca1-a947-11cf-8ee4-00c00c205365",  # properties of the file
        "b7dc0791-a9b7-11cf-8ee6-00c00c205365",  # properties of a stream
        "75b22633-668e-11cf-a6d9-00aa0062ce6c",  # title, author
        "d2d0a440-e307-11d2-97f0-00a0c95ea850",  # further tags
        "c5f8cbea-5baf-4877-8467-aa8c44fa4cca",  # metadata
        "f487cd01-a951-11cf-8ee6-00c00c205365",  # markers
        "14e6a5cb-c672-4332-8399-a96952065b5a",  # extended properties of a stream
        "33000890-e5b1-11cf-89f4-00a0c90349cb",  # an index
    )
)


def read(content: bytes) -> list[Part]:
    """The objects; if anything else follows, none."""
    parts, at = [], 0
    while at < len(content):
        kind = content[at : at + 16]
        size = int.from_bytes(content[at + 16 : at + HEADER_BYTES], "little")
        if not HEADER_BYTES <= size <= len(content) - at:
            return []
        inner = content[at + HEADER_BYTES : at + size]
        first = INNER_AT.get(kind)
        objects = [] if first is None else read(inner[first:])
        parts.append(Part(kind, inner[:first] if objects else inner, objects))
        at += size
    return parts


def _frame(part: Part, content: bytes) -> bytes:
    size = len(content) + HEADER_BYTES if part.declared is None else part.declared
    return part.kind + (size % 2**64).to_bytes(8, "little") + content


ASF = Container("asf", read, lambda parts: write(parts, _frame), "little", KINDS, "counted")
