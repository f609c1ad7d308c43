"""Streams of frames behind tags: MP3 and AAC (ADTS) with ID3v2.3, ID3v2.4 and ID3v1 tags."""

from __future__ import annotations

import re

from fuzz.containers import Container
from fuzz.part import Part, write

TAG, OLD_TAG, FRAME = b"ID3", b"TAG", b"frame"
KINDS = tuple(
    b"TXXX WXXX APIC COMM USLT SYLT GEOB PRIV POPM PCNT UFID CHAP CTOC TIT2 TPE1 TLEN TBPM RVA2 EQU2 MLLT ETCO SEEK "
    b"ASPI ENCR GRID AENC LINK POSS USER OWNE COMR SIGN MCDI RBUF".split()
)


def read(content: bytes) -> list[Part]:
    """Tags, whose inner parts are their frames, then the frames of the stream."""
    parts = []
    while content.startswith(TAG):
        size = _from_synchsafe(content[6:10])
        parts.append(Part(TAG, content[3:6], _frames(content[10 : 10 + size], content[3])))
        content = content[10 + size :]
    if content.startswith(b"fLaC"):  # a tag in front of FLAC
        return [*parts, Part(FRAME, content)]
    begins = content[:2]
    frames = re.split(b"(?=" + re.escape(begins) + b")", content) if begins else []
    return parts + [Part(FRAME, frame) for frame in frames if frame]


def _frames(content: bytes, version: int) -> list[Part]:
    parts, at = [], 0
    while at + 10 <= len(content) and content[at]:
        size = (
            _from_synchsafe(content[at + 4 : at + 8])
            if version > 3
            else int.from_bytes(content[at + 4 : at + 8], "big")
        )
        parts.append(Part(content[at : at + 4], content[at + 8 : at + 10 + size]))
        at += 10 + size
    if at < len(content):
        parts.append(Part(b"", content[at:]))
    return parts


def _from_synchsafe(digits: bytes) -> int:
    return sum((byte & 127) << shift for byte, shift in zip(digits, (21, 14, 7, 0), strict=True))


def _synchsafe(number: int) -> bytes:
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


def _tag(part: Part, content: bytes) -> bytes:
    """Headers by kind: a tag, a frame of a tag (its flags are the first two bytes), a frame of the stream."""
    if part.kind in (FRAME, b""):
        return content
    if part.kind == OLD_TAG:
        return OLD_TAG + content[:125].ljust(125, b"\0")
    if part.kind == TAG:
        return (
            TAG + content[:3] + _synchsafe(len(content) - 3 if part.declared is None else part.declared) + content[3:]
        )
    return part.kind + _synchsafe(max(len(content) - 2, 0) if part.declared is None else part.declared) + content


TAGGED = Container("id3", read, lambda parts: write(parts, _tag), "big", (*KINDS, OLD_TAG))
