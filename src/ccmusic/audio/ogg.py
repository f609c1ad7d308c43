"""The pages of Ogg: where each link of a chain of streams begins, and whether pages are missing."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from ccmusic.audio.audio_file import AudioFile
from ccmusic.audio.frames import Reader
from ccmusic.audio.tags import UNREAD_BYTES, after_tag

HEAD_BYTES = 27 + 255
CAPTURE = b"OggS\0"
FIRST = 0x02
MOST_BYTES_PER_SECOND = 2**23  # of FLAC, in all channels
BYTES_PER_NOTE = 2**20


REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass
class Links:
    """The links of a chain, each from the first byte to the one after the last.

    Parameters
    ----------
    spans : list of tuple of int
    is_damaged : bool
        Pages are missing, damaged or cut off. A recorder that is stopped marks no page as the last one; that is no
        damage.
    """

    spans: list[tuple[int, int]]
    is_damaged: bool = False


def find_links(file: AudioFile, begin: int, end: int, counted: Callable[[float], bool]) -> Links:
    """The links of the Ogg file between two positions.

    `counted` gets the least number of seconds that the pages can hold, and returns whether no more are wanted; the last
    link then reaches to the end.

    A link begins with the first pages of its streams. Pages before it belong to streams whose beginning is missing.

    References
    ----------
    RFC 3533
    """
    walk = _PageWalk(file, begin, end)
    walk.run(counted)
    return walk.links


class _PageWalk:
    def __init__(self, file: AudioFile, begin: int, end: int) -> None:
        self._file = file
        self._reader = Reader(file, end)
        self._position, self._end = begin, end
        self._link: int | None = None
        self._in_first_pages = False
        self._numbers: dict[bytes, int] = {}  # of the last page of each stream
        self.links = Links([])

    def run(self, counted: Callable[[float], bool]) -> None:
        """Go through the pages."""
        begin = noted = self._position
        while self._position < self._end:
            if self._position > noted + BYTES_PER_NOTE:
                noted = self._position
                if counted((noted - begin) / MOST_BYTES_PER_SECOND):
                    self._position = self._end
                    break
            head = self._reader.at(self._position, HEAD_BYTES)
            if not head.startswith(CAPTURE) or len(head) < 27:
                self._skip()
                continue
            size = 27 + head[26] + sum(head[27 : 27 + head[26]])
            page = self._reader.at(self._position, size)
            if len(page) < size:
                self.links.is_damaged = True
                break
            self._take(page)
            self._position += size
        self._close(self._position)

    def _take(self, page: bytes) -> None:
        kind, serial = page[5], page[14:18]
        number = int.from_bytes(page[18:22], "little")
        if kind & FIRST and not self._in_first_pages:
            self._close(self._position)
            self._link = self._position
        self._in_first_pages = bool(kind & FIRST)
        follows = bool(kind & FIRST) or number == self._numbers.get(serial, number - 1) + 1
        if self._link is None or not follows or not _is_intact(page):
            self.links.is_damaged = True
        self._numbers[serial] = number

    def _close(self, position: int) -> None:
        if self._link is not None:
            self.links.spans.append((self._link, position))
        self._link = None
        self._numbers.clear()

    def _skip(self) -> None:
        """Find the next page, as none begins here."""
        begin = self._position
        after = after_tag(self._file, begin)
        self._position = after if after > begin else self._reader.find(CAPTURE, begin + 1)
        if self._position == self._end and self._end - begin > UNREAD_BYTES:
            self.links.is_damaged = True


def _is_intact(page: bytes) -> bool:
    """Whether the checksum of a page is right; decoders skip other pages without a word.

    It has the polynomial of `zlib.crc32`, but takes the bits of each byte in the other order, and begins with zero.
    """
    checksum = int.from_bytes(page[22:26], "little")
    content = (page[:22] + bytes(4) + page[26:]).translate(REVERSED)
    found = zlib.crc32(content, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(found.to_bytes(4, "big").translate(REVERSED), "little") == checksum
