"""Ogg (RFC 3533): pages of packets, with checksums."""

from __future__ import annotations

import zlib

from fuzz.containers import Container
from fuzz.containers.comments import read_comments, write_comments
from fuzz.part import Part, copies

PAGE, PACKET, CUT = b"page", b"packet", b"cut"
"""A page, a packet, and the beginning of a packet that goes on on the next page."""
COMMENTS = {b"OpusTags": 8, b"\3vorbis": 7, b"\x84": 4}
"""How a packet with comments begins, and where its list does."""
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
MOST_SEGMENTS = 255


def read(content: bytes) -> list[Part]:
    """The pages. The body of a page is its flags, position, serial number and number."""
    parts, at = [], 0
    while content[at : at + 4] == b"OggS":
        lacing = content[at + 27 : at + 27 + content[at + 26]]
        page = Part(PAGE, content[at + 5 : at + 22])
        at += 27 + len(lacing)
        size = 0
        for place, length in enumerate(lacing):
            size += length
            last = place == len(lacing) - 1
            if length < 255 or last:
                page.parts.append(_packet(content[at : at + size], CUT if length == 255 else PACKET))
                at, size = at + size, 0
        parts.append(page)
    return parts


def _packet(content: bytes, kind: bytes) -> Part:
    for begin, at in COMMENTS.items():
        if kind == PACKET and content.startswith(begin) and (part := read_comments(content, at, begin)):
            return part
    return Part(kind, content)


def _pieces(part: Part) -> list[bytes]:
    if part.kind in COMMENTS:
        whole = write_comments(part)
        return [
            whole if part.numbering is None else part.numbering.write(whole, n, part.times) for n in range(part.times)
        ]
    return copies(part, lambda _, content: content)


def write(parts: list[Part]) -> bytes:
    """The pages, with right checksums. A page with too many packets becomes several."""
    return b"".join(page for part in parts for copy in _copies(part) for page in copy)


def _copies(part: Part) -> list[list[bytes]]:
    if part.kind != PAGE:  # a packet that was moved out of its page
        part = Part(PAGE, bytes(17), [part])
    lacing, content = bytearray(), bytearray()
    for packet in part.parts:
        for piece in _pieces(packet):
            lacing += b"\xff" * (len(piece) // 255)
            if packet.kind != CUT:
                lacing.append(len(piece) % 255)
            content += piece
    bodies = [
        part.body if part.numbering is None else part.numbering.write(part.body, number, part.times)
        for number in range(part.times if part.numbering else 1)
    ]
    made = [_pages(body, bytes(lacing), bytes(content), part.declared) for body in bodies]
    return made if part.numbering else made * part.times


def _pages(body: bytes, lacing: bytes, content: bytes, declared: int | None) -> list[bytes]:
    body = body.ljust(17, b"\0")
    number = int.from_bytes(body[13:17], "little")
    pages, at = [], 0
    for first in range(0, max(len(lacing), 1), MOST_SEGMENTS):
        segments = lacing[first : first + MOST_SEGMENTS]
        size = sum(segments)
        flags = body[0] | (1 if first and lacing[first - 1] == 255 else 0)
        goes_on = segments[-1:] == b"\xff" and first + MOST_SEGMENTS < len(lacing)
        position = b"\xff" * 8 if goes_on and not any(byte < 255 for byte in segments) else body[1:9]
        head = (
            bytes([flags])
            + position
            + body[9:13]
            + (number + first // MOST_SEGMENTS & 0xFFFFFFFF).to_bytes(4, "little")
        )
        count = len(segments) if declared is None else declared % 256
        whole = b"OggS\0" + head + bytes(4) + bytes([count]) + segments + content[at : at + size]
        pages.append(whole[:22] + checksum(whole) + whole[26:])
        at += size
    return pages


def checksum(page: bytes) -> bytes:
    """The CRC of Ogg: that of zlib with its bits in the other order, from 0 and not inverted."""
    value = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return value.to_bytes(4, "little").translate(REVERSED)[::-1]


OGG = Container("ogg", read, write, "little", (PAGE, PACKET, CUT))
