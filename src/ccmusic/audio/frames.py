"""The frames of MPEG audio (MP3) and of AAC in ADTS or LATM: each begins with a header that says how long it is.

Such a stream has no beginning of its own, so a header is believed only if the next ones agree with it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from ccmusic.audio.audio_file import AudioFile
from ccmusic.audio.formats import AAC, LATM, MP3, Format

AGREEING = 4
"""So many frames in a row must agree where a stream begins or changes; fewer if the file ends after them."""
CHUNK_BYTES = 2**18
SHORTEST_FREE_FRAME, LONGEST_FREE_FRAME = 24, 2**13
FREE_FORMAT_TRIES = 32
HEADER_BYTES = 7
CANDIDATE = re.compile(rb"[\x56\xff][\xe0-\xff]")

# fmt: off
BIT_RATES = {  # kbit/s by version and layer, ISO 11172-3 and 13818-3; index 0 is free format
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
SAMPLE_RATES = (44_100, 48_000, 32_000)
ADTS_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
# fmt: on


class Header(NamedTuple):
    """What the header of a frame says.

    Parameters
    ----------
    format : Format
        `MP3`, `AAC` or `LATM`; the header of the last one says only how long the frame is.
    layer : tuple of int
        Version and layer, or the profile: what never changes within a stream.
    sample_rate : int
    channels : int
    n_samples : int
        Of each channel.
    length : int
        Of the frame in bytes, 0 in free format, where the header does not say it.
    padding : int
        Bytes that a frame in free format has more than others.
    free_length : int
        In free format: bytes of a frame without padding, as found by the next frames.
    """

    format: Format
    layer: tuple[int, int]
    sample_rate: int
    channels: int
    n_samples: int
    length: int
    padding: int = 0
    free_length: int = 0

    def length_of(self, frame: Header) -> int:
        """The bytes of a frame of this stream."""
        return frame.length or self.free_length + frame.padding

    def agrees(self, other: Header | None) -> bool:
        """Whether the other frame may follow in the same stream, with the same sample rate and channels."""
        return other is not None and self[:4] == other[:4] and (self.length == 0) == (other.length == 0)


def read_header(head: bytes) -> Header | None:
    """The header that begins with these 7 bytes, or None."""
    if len(head) < 4 or head[1] & 0xE0 != 0xE0 or head[0] not in (0xFF, 0x56):
        return None
    if head[0] == 0x56:
        return Header(LATM, (0, 0), 0, 0, 0, ((head[1] & 0x1F) << 8 | head[2]) + 3)
    if head[1] & 0xF6 == 0xF0:  # the two bits of the layer are 0 in ADTS, and never 0 in MPEG audio
        return _adts(head) if len(head) >= HEADER_BYTES else None
    return _mpeg(bytes(head[1:4]))


@lru_cache(maxsize=1024)
def _mpeg(head: bytes) -> Header | None:
    # Layer I in free format is left out: no encoder writes it, and the bytes ff ff 00 00 are common elsewhere.
    version = (4, 0, 2, 1)[head[0] >> 3 & 3]  # 4 is MPEG 2.5, which halves the sample rates again
    layer = 4 - (head[0] >> 1 & 3)
    index, rate, padding = head[1] >> 4, head[1] >> 2 & 3, head[1] >> 1 & 1
    if not version or layer == 4 or index == 15 or rate == 3 or head[2] & 3 == 2 or (layer == 1 and not index):
        return None
    first = 1 if version == 1 else 2
    sample_rate = SAMPLE_RATES[rate] // version
    bit_rate = BIT_RATES[first, layer][index] * 1000
    n_samples = 384 if layer == 1 else 576 if layer == 3 and first == 2 else 1152
    slot = 4 if layer == 1 else 1
    length = (n_samples // 8 // slot * bit_rate // sample_rate + padding) * slot if bit_rate else 0
    channels = 1 if head[2] >> 6 == 3 else 2
    return Header(MP3, (version, layer), sample_rate, channels, n_samples, length, padding * slot)


def _adts(head: bytes) -> Header | None:
    rate = head[2] >> 2 & 15
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if rate >= len(ADTS_RATES) or length <= HEADER_BYTES:
        return None
    layer = (head[1] >> 3 & 1, head[2] >> 6)
    channels = (head[2] & 1) << 2 | head[3] >> 6  # 0: the frame itself says it; 7 means 8
    return Header(AAC, layer, ADTS_RATES[rate], 8 if channels == 7 else channels, 1024 * ((head[6] & 3) + 1), length)


class Reader:
    """The bytes of a file from any position, read in chunks.

    Parameters
    ----------
    file : AudioFile
    end : int
        Where the file ends for this reader.
    """

    def __init__(self, file: AudioFile, end: int) -> None:
        self._file = file
        self._begin = 0
        self._chunk = b""
        self.end = end

    def at(self, position: int, count: int) -> bytes:
        """Up to `count` bytes, at most `CHUNK_BYTES`."""
        offset = position - self._begin
        if offset < 0 or offset + count > len(self._chunk):
            self._file.seek(position)
            self._chunk = self._file.read(max(0, min(CHUNK_BYTES, self.end - position)))
            self._begin, offset = position, 0
        return self._chunk[offset : offset + count]

    def find(self, mark: bytes, position: int) -> int:
        """Where these bytes begin, at `position` or after it; the end if nowhere."""
        while len(chunk := self.chunk(position)) >= len(mark):
            place = chunk.find(mark)
            if place >= 0:
                return position + place
            position += max(1, len(chunk) - len(mark) + 1)
        return self.end

    @property
    def is_spent(self) -> bool:
        """Whether the budget of the file is used up."""
        return self._file.is_spent

    def chunk(self, position: int) -> bytes:
        """All bytes in memory from `position`, at least 16 if the file has them."""
        self.at(position, 16)
        return self._chunk[position - self._begin :]


def stream_at(reader: Reader, position: int) -> Header | None:
    """The header at `position` if the next frames agree with it."""
    header = read_header(reader.at(position, HEADER_BYTES))
    if header is None:
        return None
    if header.length:
        return header if _agrees(reader, position, header) else None
    return _free_format(reader, position, header)


def _agrees(reader: Reader, position: int, header: Header) -> bool:
    frame = header
    for n_agreed in range(AGREEING - 1):
        position += header.length_of(frame)
        following = read_header(reader.at(position, HEADER_BYTES))
        if following is None:  # the last frame may be cut off, but not the only one
            return reader.end - HEADER_BYTES < position and (n_agreed > 0 or position <= reader.end)
        if not header.agrees(following):
            return False
        frame = following
    return True


def _free_format(reader: Reader, position: int, header: Header) -> Header | None:
    """Finds how long the frames are: as far as the next header is away."""
    content = reader.at(position, LONGEST_FREE_FRAME)
    distance = SHORTEST_FREE_FRAME
    for _ in range(FREE_FORMAT_TRIES):
        distance = content.find(content[:2], distance)
        if distance < 0:
            break
        if header.agrees(read_header(content[distance : distance + HEADER_BYTES])):
            stream = header._replace(free_length=distance - header.padding)
            if _agrees(reader, position, stream):
                return stream
        distance += 1
    return None


def find_stream(reader: Reader, begin: int, end: int) -> int | None:
    """Where the first frame is, from `begin` to before `end`, with which the next ones agree; None without."""
    while begin < end:
        chunk = reader.chunk(begin)[: end - begin]
        if len(chunk) < 2:
            return None
        for match in CANDIDATE.finditer(chunk):
            position = begin + match.start()
            if reader.is_spent:  # a hostile file is full of headers
                return None
            if stream_at(reader, position) is not None:
                return position
        begin += len(chunk) - 1  # a candidate may lie across two chunks
    return None
