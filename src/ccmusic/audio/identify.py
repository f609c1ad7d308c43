"""Finds out what a file is: by its content, never by its name or media type.

::

    tags skipped -> first bytes in the table -> frames of MP3 or AAC, or another recording further on -> text -> zeros
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ccmusic.audio.audio_file import AudioFile
from ccmusic.audio.formats import DAMAGED, FORMATS, HEAD_BYTES, MP3, UNKNOWN, ZEROS, Format, by_head
from ccmusic.audio.frames import Reader, find_stream, read_header, stream_at
from ccmusic.audio.mp4_boxes import begin_of_mp4
from ccmusic.audio.riff import compressed_frames, mpeg_frames
from ccmusic.audio.tags import MOST_TAGS, after_tag, before_tags
from ccmusic.audio.texts import text_kind
from ccmusic.errors import EmptyAudio, UndecodableAudio, UnsupportedMedia

SEARCH_BYTES = 2**25
"""So far after zeros and tags the beginning of a recording is searched: damaged tags with pictures are smaller."""
MOST_ZEROS = 2**16
"""More zeros than these in front of a recording are no padding."""
ENDS_WITH_TAGS = frozenset({"mp3", "aac", "flac", "ogg"})
"""Formats that do not say where they end, so tags may follow."""
MOST_PLACES = 16
"""Of each of `BEGINNINGS`: more are not tried."""
BEGINNING_BYTES = 2**20
"""So far the beginnings of other recordings are searched."""
# fmt: off
BEGINNINGS = (
    (b"fLaC\0\0\0\x22", 0), (b"OggS\0", 0), (b"WAVE", 8), (b"AIFF", 8), (b"AIFC", 8), (b"\x1a\x45\xdf\xa3", 0),
    (b"\0\0\0\x14ftyp", 0), (b"\0\0\0\x18ftyp", 0), (b"\0\0\0\x1cftyp", 0), (b"\0\0\0\x20ftyp", 0),
    (b"\0\0\0\x24ftyp", 0), (b"\0\0\0\x28ftyp", 0), (b"caff\0\1", 0), (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0),
)
# fmt: on
"""Bytes by which the beginning of a recording is found after something else, and how many are before them."""


class Found(NamedTuple):
    """What a file is, which part of it holds the recording, and whether the beginning is missing.

    A download that was resumed wrongly has zeros in place of its beginning.
    """

    format: Format
    begin: int
    end: int
    is_damaged: bool = False


def identify(file: AudioFile, begin: int = 0) -> Found:
    """Find the recording in a file, at `begin` or later.

    Raises
    ------
    UnsupportedMedia
        It is something else, or a recording in a format that is not accepted. The text names it.
    EmptyAudio
        It holds only tags.
    UndecodableAudio
        It begins as a recording does, but has no sound.
    """
    begin, had_tag, n_zeros = _skip_tags_and_zeros(file, begin)
    if begin == file.size:
        if had_tag:
            raise EmptyAudio("The file holds tags and no sound; send a recording that plays.")
        raise UnsupportedMedia(ZEROS)
    head = file.peek(begin, HEAD_BYTES)
    known = by_head(head)
    found = _search(file, begin) if known is None else _accepted(file, known, begin)
    if found is not None:
        return found._replace(is_damaged=n_zeros > MOST_ZEROS)
    # a text may begin with up to two zeros, in UTF-16 or UTF-32
    kind = text_kind(file.peek(begin - n_zeros, HEAD_BYTES) if n_zeros < 3 else head)
    if kind is not None:
        raise UnsupportedMedia(kind.refusal)
    if had_tag or read_header(head) is not None:
        raise UndecodableAudio(DAMAGED)
    raise UnsupportedMedia(UNKNOWN)


def _skip_tags_and_zeros(file: AudioFile, begin: int) -> tuple[int, bool, int]:
    """Where something else begins, whether there was a tag before it, and how many zeros there were."""
    had_tag, n_zeros = False, 0
    for _ in range(MOST_TAGS):
        if begin == file.size or by_head(file.peek(begin, HEAD_BYTES)) is not None:
            break
        after = after_tag(file, begin)
        if after > begin:
            had_tag = True
        else:
            after = _after_zeros(file, begin)
            n_zeros += after - begin
        if after == begin:
            break
        begin = after
    return begin, had_tag, n_zeros


def _after_zeros(file: AudioFile, begin: int) -> int:
    """Where the zeros end that begin at `begin`, but for those with which a recording begins."""
    reader, position = Reader(file, file.size), begin
    while chunk := reader.chunk(position):
        n_zeros = len(chunk) - len(chunk.lstrip(b"\0"))
        position += n_zeros
        if n_zeros < len(chunk):
            break
    for back in range(min(3, position - begin), 0, -1):
        if by_head(file.peek(position - back, HEAD_BYTES)) is not None:
            return position - back
    return position


def _accepted(file: AudioFile, found: Format, begin: int) -> Found:
    if not found.is_accepted:
        raise UnsupportedMedia(found.refusal)
    if found.name == "wav":
        if (frames := mpeg_frames(file, begin)) is not None:
            return Found(MP3, *frames)
        if (inner := compressed_frames(file, begin)) is not None:
            return Found(FORMATS[inner[0]], *inner[1:])
    if found.name == "mp4" and begin == 0:
        return Found(found, begin_of_mp4(file), file.size)
    return Found(found, begin, before_tags(file, begin, file.size) if found.name in ENDS_WITH_TAGS else file.size)


def _search(file: AudioFile, begin: int) -> Found | None:
    """The recording that begins at `begin` or later, where the table does not know the first bytes."""
    end = before_tags(file, begin, file.size)
    reader = Reader(file, end)
    first = find_stream(reader, begin, min(end, begin + SEARCH_BYTES))
    other = _find_beginning(file, begin, begin + BEGINNING_BYTES if first is None else first)
    if other is not None:
        return other
    stream = None if first is None else stream_at(reader, first)
    if first is None or stream is None:
        return None
    if not stream.format.is_accepted:
        raise UnsupportedMedia(stream.format.refusal)
    return Found(stream.format, first, end)


def _find_beginning(file: AudioFile, begin: int, end: int) -> Found | None:
    content = file.peek(begin, min(end - begin, BEGINNING_BYTES))
    places = sorted(place for mark, before in BEGINNINGS for place in _places(content, mark, before))
    for place in places:
        found = by_head(file.peek(begin + place, HEAD_BYTES))
        if found is not None and found.is_accepted:
            return _accepted(file, found, begin + place)
    return None


def _places(content: bytes, mark: bytes, before: int) -> Iterator[int]:
    """Where a file may begin that has this mark after so many bytes."""
    place = before - 1
    for _ in range(MOST_PLACES):
        place = content.find(mark, place + 1)
        if place < 0:
            break
        yield place - before
