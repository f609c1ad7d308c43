"""The chunks of WAV and AIFF: where the samples are, and whether all of them are."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from ccmusic.audio.audio_file import AudioFile

MOST_CHUNKS = 64
"""More than real files have; a hostile file could have millions."""
MPEG_CODES = (0x0050, 0x0055)
"""Codecs of WAV files whose samples are frames of MPEG audio."""
PCM_CODES = (0x0001, 0xFFFE)
BITSTREAMS = {
    "spdif": re.compile(rb"\x72\xf8\x1f\x4e[\x01-\x16]"),  # the beginning of a burst, with a kind of data
    # the mark of a frame, and the bits of one of usual length
    "dts": re.compile(rb"\xfe\x7f\x01\x80.[\xfc-\xff]|\xff\x1f\x00\xe8[\xf0-\xff]\x07", re.DOTALL),
}
SEARCHED_BYTES = 2**19
"""So much of the samples: some rips begin with silence."""
LONGEST_BURST = 2**16


class Chunk(NamedTuple):
    """Where the content of a chunk begins, how many bytes it declares, and whether one before it has no padding.

    A chunk of an odd length is followed by a byte of padding, which some programs do not write.
    """

    begin: int
    length: int
    is_shifted: bool


def find_chunk(file: AudioFile, begin: int, *names: bytes) -> Chunk | None:
    """The first chunk with one of these names of the file that begins at `begin`."""
    order: Literal["big", "little"] = "big" if _is_big(file, begin) else "little"
    position, is_shifted = begin + 12, False
    for _ in range(MOST_CHUNKS):
        head = file.peek(position, 8)
        if len(head) < 8:
            break
        length = int.from_bytes(head[4:], order)
        if head[:4] in names:
            return Chunk(position + 8, length, is_shifted)
        position += 8 + length
        if length % 2:
            following = file.peek(position, 5)
            has_padding = following[1:].isascii() and not following[:1].isalpha()
            position += has_padding
            is_shifted |= not has_padding
    return None


def readable_spans(file: AudioFile, begin: int) -> list[tuple[int, int]] | None:
    """The parts of a WAV file that decoders can read if they stop at a chunk without padding; None if there is none."""
    data, codec = find_chunk(file, begin, b"data"), find_chunk(file, begin, b"fmt ")
    if data is None or codec is None or not data.is_shifted:
        return None
    return [(begin, begin + 12), (codec.begin - 8, codec.begin + codec.length), (data.begin - 8, file.size)]


def form_end(file: AudioFile, begin: int) -> int:
    """Where the WAV or AIFF file ends that begins at `begin`, as it declares; the end of the file if it does not."""
    length = int.from_bytes(file.peek(begin + 4, 4), "big" if _is_big(file, begin) else "little")
    return min(file.size, begin + 8 + length + length % 2) if _is_known(length) else file.size


def content_end(file: AudioFile, begin: int, data: Chunk) -> int:
    """Where the samples end in the chunk `data` of the file that begins at `begin`.

    RF64 and BW64 have the length of large files in another chunk.
    """
    if file.peek(begin, 4) in (b"RF64", b"BW64"):
        sizes = find_chunk(file, begin, b"ds64")
        if sizes is not None:
            data = data._replace(length=int.from_bytes(file.peek(sizes.begin + 8, 8), "little"))
            return min(file.size, data.begin + data.length)
    return _end(file, data)


def mpeg_frames(file: AudioFile, begin: int) -> tuple[int, int] | None:
    """Where the frames of MPEG audio begin and end in the WAV file that begins at `begin`; None if it has none."""
    codec, data = find_chunk(file, begin, b"fmt "), find_chunk(file, begin, b"data")
    if codec is None or data is None or int.from_bytes(file.peek(codec.begin, 2), "little") not in MPEG_CODES:
        return None
    return data.begin, _end(file, data)


def compressed_frames(file: AudioFile, begin: int) -> tuple[str, int, int] | None:
    """The name of the format in the samples of a WAV file that are frames of AC-3 or DTS, and where they begin and end.

    Rips of DTS CDs and recordings of a digital output are such files: they declare to be PCM, which would be noise.
    """
    codec, data = find_chunk(file, begin, b"fmt "), find_chunk(file, begin, b"data")
    if codec is None or data is None or int.from_bytes(file.peek(codec.begin, 2), "little") not in PCM_CODES:
        return None
    content = file.peek(data.begin, min(SEARCHED_BYTES, data.length))
    for name, mark in BITSTREAMS.items():
        marks = [found.start() for found, _ in zip(mark.finditer(content), range(2), strict=False)]
        if len(marks) == 2 and marks[1] - marks[0] < LONGEST_BURST:
            return name, data.begin + marks[0], _end(file, data)
    return None


def ends_early(file: AudioFile) -> bool:
    """Whether a WAV or AIFF file is shorter than it declares; libsndfile does not report that."""
    data = find_chunk(file, 0, b"data", b"SSND") if file.peek(0, 4) in (b"RIFF", b"FORM") else None
    return data is not None and _is_known(data.length) and data.begin + data.length > file.size


def _is_big(file: AudioFile, begin: int) -> bool:
    return file.peek(begin, 4) in (b"FORM", b"RIFX")


def _end(file: AudioFile, data: Chunk) -> int:
    return min(file.size, data.begin + data.length) if _is_known(data.length) else file.size


def _is_known(length: int) -> bool:
    """Programs that write a stream do not know the length: they write 0, or nearly the largest number."""
    return 0 < length < 0xFFFFF000 and length != 0x7FFFFFFF
