"""Pictures that are small in a file and large when they are decoded."""

from __future__ import annotations

import random
import re
import struct
import zlib
from functools import lru_cache

PNG = re.compile(rb"\x89PNG\r\n\x1a\n.*?IEND....", re.DOTALL)
ROOM = 40_000
"""Bytes that pictures of seeds take, so that larger ones fit into the sizes that tables declare."""
SIDES = (16, 256, 1000, 4000, 16_000)
"""FFmpeg decodes up to 268 million pixels."""


def enlarged(content: bytes, rng: random.Random, sides: tuple[int, ...] = SIDES) -> tuple[bytes, str]:
    """`content` with a larger picture in the same number of bytes, and what was done."""
    width, height = (rng.choice(sides) for _ in range(2))
    return PNG.sub(lambda found: png(width, height, len(found[0])), content), f"picture of {width} x {height}"


@lru_cache(maxsize=32)
def png(width: int, height: int, room: int = ROOM) -> bytes:
    """A picture of one colour, with a byte for each pixel once it is decoded, filled up to `room` bytes."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    pixels = b"".join([packer.compress(row) for _ in range(height)] + [packer.flush()])
    before = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0))
    behind = _chunk(b"PLTE", bytes(6)) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
    filling = room - len(before) - len(behind) - 12
    return before + (_chunk(b"fiLl", bytes(filling)) if filling >= 0 else b"") + behind


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
