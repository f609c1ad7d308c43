"""RIFF (WAV) and IFF (AIFF): chunks in chunks, with numbers in opposite byte order."""

from __future__ import annotations

from typing import Literal

from fuzz.containers import Container
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
        name, lambda content: _read(content, order), lambda parts: write(parts, frame), order, kinds, "not counted"
    )


RIFF = _container("riff", "little", RIFF_KINDS)
AIFF = _container("aiff", "big", IFF_KINDS)
