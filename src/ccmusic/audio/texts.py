"""Recognises texts in any encoding, so that a refusal can say what was sent."""

from __future__ import annotations

import re

from ccmusic.audio.formats import MARKUP, PLAYLIST, POINTER, SUBTITLES, TEXT, WEB_PAGE, Format

TEXT_BYTES = 2048
"""The beginning that is looked at."""
PRINTABLE = 0.98
"""Share of the characters of a text that can be printed: some texts hold a few others."""
BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
"""Bytes that no text has in an encoding with one byte for each ASCII character: UTF-8, Latin-1, GBK, Shift JIS."""
# fmt: off
KINDS = [(re.compile(pattern, re.IGNORECASE | re.MULTILINE), kind) for pattern, kind in (
    (r"\A\s*(#EXTM3U|\[playlist\]|<asx\b|<smil\b|<\?wpl\b)|<playlist\b|\A\s*<\?zpl\b", PLAYLIST),
    (r"\A\s*version https://git-lfs", POINTER),
    (r"<!doctype html|<html\b|<head\b|<body\b|<script\b", WEB_PAGE),
    (r"\A\s*(\[\d+:\d\d[.\]]|\[(ti|ar|al|by|offset):|WEBVTT|\d+\s+\d\d:\d\d:\d\d,)", SUBTITLES),
    (r"^\s*FILE .*(WAVE|MP3|BINARY)\s*$", SUBTITLES),
    (r"\A\s*([{\[]|<\?xml|<svg)", MARKUP),
)]
# fmt: on


def text_kind(head: bytes) -> Format | None:
    """What kind of text begins with these bytes, or None if they are no text.

    Parameters
    ----------
    head : bytes
        The beginning of a file, at least one byte.
    """
    text = _decoded(head[:TEXT_BYTES])
    if text is None:
        return None
    return next((kind for pattern, kind in KINDS if pattern.search(text)), TEXT)


def _decoded(head: bytes) -> str | None:
    if not CONTROL.search(head):
        return head.decode("utf-8", "replace").replace(BYTE_ORDER_MARK, "")
    # random bytes give characters that cannot be printed
    is_big = head[0::2].count(0) > head[1::2].count(0)
    for encoding in ("utf-16-be" if is_big else "utf-16-le", "utf-32-be", "utf-32-le"):
        text = _if_printable(head, encoding)
        if text is not None:
            return text
    return None


def _if_printable(head: bytes, encoding: str) -> str | None:
    text = head.decode(encoding, "replace").replace(BYTE_ORDER_MARK, "")
    printable = sum(character.isprintable() or character.isspace() for character in text)
    return text if printable - 2 * text.count("\N{REPLACEMENT CHARACTER}") >= PRINTABLE * len(text) else None
