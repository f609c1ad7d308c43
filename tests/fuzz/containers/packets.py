"""Streams of packets or frames, and containers without nested parts: pieces that follow each other."""

from __future__ import annotations

import re

from fuzz.containers import Container
from fuzz.part import Part, write

PIECE = b"rest"
"""The kind of a part that does not say where it ends."""
TRANSPORT_PACKET_BYTES, PIECE_BYTES = 188, 32


def read(content: bytes) -> list[Part]:
    """Packets of a transport stream, frames that begin with the same two bytes, or pieces of one length."""
    step = TRANSPORT_PACKET_BYTES if content[:1] == b"G" else PIECE_BYTES
    pieces = [content[at : at + step] for at in range(0, len(content), step)]
    if step == PIECE_BYTES and content.count(content[:2]) > 3:
        pieces = re.split(b"(?=" + re.escape(content[:2]) + b")", content)
    return [Part(PIECE, piece) for piece in pieces if piece]


PACKETS = Container("packets", read, lambda parts: write(parts, lambda part, content: content), "big")
