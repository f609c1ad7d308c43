"""A hash of the sound in a file alone: tags, covers and padding do not change it, nor where they are in the file.

Two files with the same hash hold the same encoded sound, so one answer is true of both. The reverse need not hold: what
this module cannot find its way in is hashed whole, without the tags around it.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Iterator

from ccmusic.audio.audio_file import AudioFile, open_audio
from ccmusic.audio.budget import Budget
from ccmusic.audio.identify import ENDS_WITH_TAGS, Found, identify
from ccmusic.audio.limits import DecodeLimits
from ccmusic.audio.mp4_boxes import boxes
from ccmusic.audio.mp4_samples import sound_spans
from ccmusic.audio.ogg_packets import packets_digest
from ccmusic.audio.parts import joined_file_begins
from ccmusic.audio.riff import content_end, find_chunk
from ccmusic.audio.tags import MOST_TAGS, after_tag, before_tags
from ccmusic.errors import AudioError

CHUNK_BYTES = 2**20
SEARCH_SECONDS = 10.0
"""Processor time for finding the sound; a file that needs more is hostile, and hashed whole."""
MOST_BLOCKS = 4096
"""Metadata blocks of a FLAC file, and objects of an ASF file: more than real ones have."""
STREAMINFO_BYTES = (10, 34)
"""Sample rate, channels, bits, number of samples and MD5 in the first block of FLAC; the sizes before may change."""
ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
ASF_DATA_HEAD_BYTES = 50
DSF_HEAD_BYTES = 28

Spans = list[tuple[int, int]]
"""Where the sound begins and ends in the file, in the order in which it is played."""


def payload_hash(source: bytes | os.PathLike[str]) -> str:
    """The hash of the sound in a file.

    It covers the frames of MP3, ADTS and FLAC; the packets of Ogg without comments and without pages; the samples of
    all sound tracks of MP4; the samples of WAV and AIFF and their format; the packets of ASF; and of everything else
    all bytes without the tags before and after them.

    Parameters
    ----------
    source : bytes or os.PathLike
        The content of a file, or its path. It is read in pieces, so its size does not matter.

    Returns
    -------
    str
        ``sha256:`` and 64 hexadecimal digits.

    Raises
    ------
    EmptyAudio
        The file has no bytes.
    InvalidParameter
        `source` is not a readable file.
    CcmusicError
        The file cannot be read to its end, because the disk or the network fails.
    """
    digest = hashlib.sha256()
    with Budget(DecodeLimits(decode_seconds=SEARCH_SECONDS)) as budget, open_audio(source, sys.maxsize, budget) as file:
        found = _find(file)
        if budget.is_spent:
            found = None
    with open_audio(source, sys.maxsize, Budget(DecodeLimits(decode_seconds=math.inf))) as file:
        for piece in _sound(file, found):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


def _find(file: AudioFile) -> Found | None:
    """What the file holds; None if it is no recording, or several that were joined to one file."""
    try:
        found = identify(file)
        return None if joined_file_begins(file, found) is not None else found
    except AudioError:
        return None


def _sound(file: AudioFile, found: Found | None) -> Iterator[bytes]:
    if found is None:
        yield from _pieces(file, [_without_tags(file)])
        return
    if found.format.name == "ogg":
        digest = packets_digest(file, found.begin, found.end)
        if digest is not None:
            yield digest
            return
    spans = _SPANS.get(found.format.name, _all)(file, found)
    if spans is None:
        spans = [_without_tags(file)]
    yield from _pieces(file, spans)


def _pieces(file: AudioFile, spans: Spans) -> Iterator[bytes]:
    for begin, end in spans:
        file.seek(begin)
        left = end - begin
        while left > 0 and (piece := file.read(min(CHUNK_BYTES, left))):
            left -= len(piece)
            yield piece


def _without_tags(file: AudioFile) -> tuple[int, int]:
    begin = 0
    for _ in range(MOST_TAGS):
        after = after_tag(file, begin)
        if after == begin:
            break
        begin = after
    return begin, before_tags(file, begin, file.size)


def _all(file: AudioFile, found: Found) -> Spans | None:
    end = found.end if found.format.name in ENDS_WITH_TAGS else before_tags(file, found.begin, found.end)
    return [(found.begin, end)]


def _flac(file: AudioFile, found: Found) -> Spans | None:
    begin = found.begin + 4
    first, last = STREAMINFO_BYTES
    spans = [(begin + 4 + first, begin + 4 + last)]
    for _ in range(MOST_BLOCKS):
        head = file.peek(begin, 4)
        begin += 4 + int.from_bytes(head[1:], "big")
        if len(head) < 4 or begin > found.end:
            return None
        if head[0] & 0x80:
            return [*spans, (begin, found.end)]
    return None


def _wav_or_aiff(file: AudioFile, found: Found) -> Spans | None:
    kind = find_chunk(file, found.begin, b"fmt ", b"COMM")
    data = find_chunk(file, found.begin, b"data", b"SSND")
    if kind is None or data is None:
        return None
    return [(kind.begin, kind.begin + kind.length), (data.begin, content_end(file, found.begin, data))]


def _mp4(file: AudioFile, found: Found) -> Spans | None:
    inner = file.part([(found.begin, found.end)])
    spans = sound_spans(inner) or [(box.begin, box.end) for box in boxes(inner) if box.kind == b"mdat"]
    return [(found.begin + begin, found.begin + end) for begin, end in spans] or None


def _asf(file: AudioFile, found: Found) -> Spans | None:
    begin = found.begin
    for _ in range(MOST_BLOCKS):
        head = file.peek(begin, 24)
        length = int.from_bytes(head[16:], "little")
        if len(head) < 24 or length < 24:
            return None
        if head[:16] == ASF_DATA:
            return [(begin + ASF_DATA_HEAD_BYTES, min(begin + length, found.end))]
        begin += length
    return None


def _dsf(file: AudioFile, found: Found) -> Spans | None:
    tag = found.begin + int.from_bytes(file.peek(found.begin + 20, 8), "little")
    begin = found.begin + DSF_HEAD_BYTES
    return [(begin, tag if tag > begin else found.end)]


_SPANS = {
    "flac": _flac,
    "wav": _wav_or_aiff,
    "bw64": _wav_or_aiff,
    "aiff": _wav_or_aiff,
    "mp4": _mp4,
    "wma": _asf,
    "dsf": _dsf,
}
