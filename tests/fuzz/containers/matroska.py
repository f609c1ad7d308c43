"""Matroska and WebM (RFC 9559): elements in elements."""

from __future__ import annotations

from fuzz.containers import Codec, Container
from fuzz.part import Part, write

HOLDERS = frozenset(
    map(
        bytes.fromhex,
        """
        1a45dfa3 18538067 114d9b74 4dbb 1549a966 1654ae6b ae e0 e1 6d80 6240 5034 5035 e2 e3 e4 e9 1f43b675 a0 75a1 a6
        1c53bb6b bb b7 1941a469 61a7 1043a770 45b9 b6 80 8f 1254c367 7373 63c0 67c8 55b0 7670
        """.split(),  # noqa: SIM905
    )
)
"""Elements that hold elements."""
KINDS = tuple(
    map(
        bytes.fromhex,
        """
        ec bf a3 a1 ab a7 e7 9b fb fd af ee 8e e8 d7 83 86 63a2 536e 22b59c 23e383 56aa 56bb b5 9f 78b5 6264 b0 ba
        5031 5032 5033 4254 4255 73a4 7ba9 4d80 5741 2ad7b1 4489 3cb923 3c83ab 4444 466e 4660 465c 46ae 45a3 4487 4485
        73c4 91 92 85 437c 45bc 45bd 45db b3 f7 f1 f0 5378 53ab 53ac 63c5 63c9 63c4 63c6 68ca 4282 42f2 42f3 4285
        """.split(),  # noqa: SIM905
    )
)
CODECS = tuple(
    b"A_OPUS A_VORBIS A_AAC A_FLAC A_AC3 A_EAC3 A_DTS A_TRUEHD A_MPEG/L3 A_TTA1 A_WAVPACK4 A_PCM/INT/LIT A_PCM/INT/BIG "
    b"A_PCM/FLOAT/IEEE A_ALAC A_MS/ACM A_QUICKTIME A_REAL/COOK A_ATRAC/AT1 V_MJPEG V_VP8 V_VP9 V_AV1 V_THEORA "
    b"V_MPEG4/ISO/AVC V_MPEGH/ISO/HEVC V_MPEG1 V_FFV1 V_PRORES V_SNOW V_DIRAC V_MS/VFW/FOURCC V_UNCOMPRESSED "
    b"S_TEXT/UTF8 S_TEXT/ASS S_VOBSUB S_HDMV/PGS S_DVBSUB D_WEBVTT/SUBTITLES".split()
)


def _number(content: bytes, at: int) -> tuple[int, int]:
    """The length of the number at `at` in bytes, and the number without its marker."""
    width = 9 - content[at].bit_length() if content[at] else 9
    value = int.from_bytes(content[at : at + width], "big")
    return width, value & ~(1 << 7 * width)


def read(content: bytes) -> list[Part]:
    """The elements; if anything else follows, none."""
    parts, at = [], 0
    while at < len(content):
        width, _ = _number(content, at)
        kind = content[at : at + width]
        at += width
        if width > 4 or at >= len(content):
            return []
        width, size = _number(content, at)
        at += width
        if size == (1 << 7 * width) - 1:  # unknown: to the end
            size = len(content) - at
        if width > 8 or size > len(content) - at:
            return []
        inner = content[at : at + size]
        elements = read(inner) if kind in HOLDERS else []
        parts.append(Part(kind, b"" if elements else inner, elements))
        at += size
    return parts


def _frame(part: Part, content: bytes) -> bytes:
    size = len(content) if part.declared is None else part.declared
    return part.kind + (1 << 56 | size % 2**56).to_bytes(8, "big") + content


MATROSKA = Container(
    "matroska",
    read,
    lambda parts: write(parts, _frame),
    "big",
    KINDS,
    "not counted",
    codec=Codec(b"\x86", None, CODECS),
)
