"""RIFF (WAV) and IFF (AIFF): chunks in chunks, with numbers in opposite byte order."""

from __future__ import annotations

from typing import Literal

from fuzz.containers import Codec, Container, Table
from fuzz.part import Part, write

HOLDERS = frozenset((b"RIFF", b"RF64", b"RIFX", b"FORM", b"LIST", b"CAT "))
UNKNOWN = 2**32 - 1
"""Instead of a size: to the end, or stated elsewhere (RF64)."""
RIFF_KINDS = (
    *b"fact LIST JUNK junk bext plst smpl inst ds64 data slnt cart iXML PEAK wavl levl afsp axml chna RIFF".split(),
    *(b"cue ", b"id3 ", b"fmt ", b"PAD "),
)
IFF_KINDS = (
    *b"COMM SSND FVER MARK INST COMT MIDI AESD APPL NAME AUTH ANNO LIST basc trns cate PEAK wave FORM".split(),
    *(b"(c) ", b"ID3 "),
)
WAV_TAGS = tuple(
    bytes.fromhex(tag)[::-1]
    for tag in """
        0001 0002 0003 0004 0006 0007 0008 000a 0010 0011 0017 0020 0022 0031 0042 0045 0050 0055 0057 0058 0061
        0062 0064 0069 0075 0092 00ff 0130 0160 0161 0162 0163 0165 0166 0200 0215 0270 028f 0401 0402 0500 0501
        566f 594a 674f 6771 704f 706d 729a 77a1 a100 a104 a109 f1ac fffe
    """.split()  # noqa: SIM905
)
"""What a `fmt ` chunk may name: FFmpeg's list for WAV, speech and games too."""
FORMATS: dict[str, Codec | None] = {
    "little": Codec(b"fmt ", 2, WAV_TAGS),
    "big": None,
}
TABLES: dict[str, dict[bytes, Table]] = {"little": {b"cue ": Table(4, 24), b"smpl": Table(36, 24)}, "big": {}}


def _read(content: bytes, order: Literal["big", "little"]) -> list[Part]:
    parts, at = [], 0
    while at < len(content):
        kind = content[at : at + 4]
        size = int.from_bytes(content[at + 4 : at + 8], order)
        declared = size if size == UNKNOWN else None
        if declared:
            size = len(content) - at - 8
        if size > len(content) - at - 8:
            return []
        inner = content[at + 8 : at + 8 + size]
        chunks = _read(inner[4:], order) if kind in HOLDERS else []
        parts.append(Part(kind, inner[:4] if chunks else inner, chunks, declared))
        at += 8 + size + size % 2
    return parts


def _container(name: str, order: Literal["big", "little"], kinds: tuple[bytes, ...]) -> Container:
    def frame(part: Part, content: bytes) -> bytes:
        size = len(content) if part.declared is None else part.declared % 2**32
        return part.kind + size.to_bytes(4, order) + content + bytes(len(content) % 2)

    return Container(
        name,
        lambda content: _read(content, order),
        lambda parts: write(parts, frame),
        order,
        kinds,
        "not counted",
        TABLES[order],
        FORMATS[order],
    )


RIFF = _container("riff", "little", RIFF_KINDS)
AIFF = _container("aiff", "big", IFF_KINDS)
