"""The packets of Ogg, without the pages that carry them and without the comments among them."""

from __future__ import annotations

import hashlib

from ccmusic.audio.audio_file import AudioFile
from ccmusic.audio.frames import Reader
from ccmusic.audio.ogg import CAPTURE, FIRST, HEAD_BYTES
from ccmusic.audio.tags import after_tag

MOST_PAGES = 2**21
"""More than real files have: 8 GiB in pages of usual size."""
MOST_STREAMS = 64
"""At the same time, in one link of a chain."""
FLAC_MARK = b"\x7fFLAC"
FLAC_VERSION_BYTES = 9
"""The mark, the version and the number of headers: a new header changes that number."""
COMMENT_IS_SECOND = (b"\x01vorbis", b"OpusHead", b"Speex   ", b"\x80theora")
SKELETON = b"fishead\0"
"""A stream about the others: it counts their bytes, comments too."""


def packets_digest(file: AudioFile, begin: int, end: int) -> bytes | None:
    """The SHA-256 of the packets between two positions that hold sound or say how to decode it.

    Each stream of a link of the chain is hashed on its own, so the order of their pages does not matter.

    Returns
    -------
    bytes or None
        None if there are more pages or streams than real files have, or no page.

    References
    ----------
    RFC 3533; RFC 7845 (Opus); the mapping of FLAC: https://xiph.org/flac/ogg_mapping.html
    """
    reader, total = Reader(file, end), hashlib.sha256()
    streams: dict[bytes, _Stream] = {}
    position, in_first_pages, n_pages = begin, False, 0
    for _ in range(MOST_PAGES):
        if position >= end:
            break
        head = reader.at(position, HEAD_BYTES)
        if not head.startswith(CAPTURE) or len(head) < 27:
            after = after_tag(file, position)
            position = after if after > position else reader.find(CAPTURE, position + 1)
            continue
        lacing = head[27 : 27 + head[26]]
        content = reader.at(position + 27 + len(lacing), sum(lacing))
        is_first, serial = bool(head[5] & FIRST), head[14:18]
        if is_first and not in_first_pages:
            _close(streams, total)
        in_first_pages = is_first
        if serial not in streams and len(streams) == MOST_STREAMS:
            return None
        streams.setdefault(serial, _Stream()).take(lacing, content, is_first=is_first)
        position += 27 + len(lacing) + sum(lacing)
        n_pages += 1
    else:
        return None
    _close(streams, total)
    return total.digest() if n_pages else None


def _close(streams: dict[bytes, _Stream], total: hashlib._Hash) -> None:
    for stream in streams.values():
        total.update(stream.digest())
    streams.clear()


class _Stream:
    """The hash of one stream: of its bytes, and of the values from which the lengths of its packets follow.

    These values are the same however a packet is spread over pages.
    """

    def __init__(self) -> None:
        self._content, self._lengths = hashlib.sha256(), hashlib.sha256()
        self._mark = b""
        self._n_packets = 0
        self._in_headers = False
        self._in_packet = False
        self._is_kept = True

    def digest(self) -> bytes:
        return self._content.digest() + self._lengths.digest()

    def take(self, lacing: bytes, content: bytes, *, is_first: bool) -> None:
        """Add the content of a page."""
        if is_first and not self._n_packets:
            self._mark = content[:8]
            self._in_headers = self._mark.startswith((FLAC_MARK, *COMMENT_IS_SECOND))
        if self._mark == SKELETON:
            return
        position = index = 0
        while self._in_headers and index < len(lacing):
            length = lacing[index]
            if not self._in_packet:
                if not self._begins_header(content[position : position + 1]):
                    self._in_headers = False
                    break
                self._is_kept = self._n_packets == 0
            if self._is_kept:
                skipped = FLAC_VERSION_BYTES if self._mark.startswith(FLAC_MARK) and not self._in_packet else 0
                self._content.update(content[position + skipped : position + length])
                self._lengths.update(lacing[index : index + 1])
            self._in_packet = length == 255
            self._n_packets += not self._in_packet
            position += length
            index += 1
        self._content.update(content[position:])
        self._lengths.update(lacing[index:])

    def _begins_header(self, first: bytes) -> bool:
        """Whether the packet that begins with this byte may be a comment, or comes before all comments."""
        if self._mark.startswith(FLAC_MARK):
            return self._n_packets == 0 or first != b"\xff"
        return self._n_packets < 2
