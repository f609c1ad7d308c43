"""Tags before and after the sound, by the sizes that they declare: ID3, APE and Lyrics3, in any number."""

from __future__ import annotations

from ccmusic.audio.audio_file import AudioFile

MOST_TAGS = 100
"""More than real files have; a hostile file could have millions."""
LYRICS_BYTES = 2**20
"""How far back the beginning of Lyrics3 1.0 is searched, which declares no size."""
UNREAD_BYTES = 2**16
"""More bytes than these at the end, neither sound nor tag, are something that could not be read."""


def after_tag(file: AudioFile, begin: int) -> int:
    """Where the tag that begins at `begin` ends; `begin` if no tag begins there."""
    head = file.peek(begin, 32)
    if head[:3] == b"ID3" and len(head) >= 10:
        has_footer = bool(head[5] & 0x10)
        return _inside(file, begin + 10 + _syncsafe(head[6:10]) + 10 * has_footer, otherwise=begin + 10)
    if head[:8] == b"APETAGEX" and len(head) == 32:
        return _inside(file, begin + 32 + int.from_bytes(head[12:16], "little"), otherwise=begin + 32)
    if head[:3] == b"TAG":
        return _inside(file, begin + (227 if head[3:4] == b"+" else 128), otherwise=begin)
    return begin


def before_tags(file: AudioFile, begin: int, end: int) -> int:
    """Where the tags begin that end at `end`; `end` if there are none. Never before `begin`."""
    for _ in range(MOST_TAGS):
        size = _last_tag(file, begin, end)
        if not 0 < size <= end - begin:
            break
        end -= size
    return end


def _last_tag(file: AudioFile, begin: int, end: int) -> int:
    """The size of the tag that ends at `end`, or 0."""
    tail = file.peek(max(begin, end - 227), min(227, end - begin)).rjust(227, b"\0")
    size = 0
    if tail[-128:-125] == b"TAG":
        size = 128
    elif tail.startswith(b"TAG+"):
        size = 227
    elif tail[-32:-24] == b"APETAGEX":
        has_header = bool(tail[-9] & 0x80)
        size = int.from_bytes(tail[-20:-16], "little") + 32 * has_header
    elif tail[-10:-7] == b"3DI":
        size = _syncsafe(tail[-4:]) + 20
    elif tail.endswith(b"LYRICS200") and tail[-15:-9].isdigit():
        size = int(tail[-15:-9]) + 15
    elif tail.endswith(b"LYRICSEND"):
        first = max(begin, end - LYRICS_BYTES)
        lyrics = file.peek(first, end - first)
        size = len(lyrics) - lyrics.rfind(b"LYRICSBEGIN") if b"LYRICSBEGIN" in lyrics else 0
    return size


def _syncsafe(size: bytes) -> int:
    return sum((byte & 0x7F) << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=True))


def _inside(file: AudioFile, end: int, *, otherwise: int) -> int:
    return end if end <= file.size else otherwise
