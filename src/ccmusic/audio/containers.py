"""Opens an encoded recording, checks its size, and recognises its container by the first bytes."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ccmusic.audio.budget import Budget
from ccmusic.errors import EmptyAudio, InvalidParameter, UnsupportedMedia, UploadTooLarge

ACCEPTED = "WAV, FLAC, OGG, Opus, MP3, AIFF, M4A, AAC and WebM are accepted"
# fmt: off
AUDIO_SUFFIXES = frozenset({
    ".aac", ".aif", ".aiff", ".flac", ".m4a", ".mka", ".mkv", ".mov", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".wav",
    ".wave", ".weba", ".webm",
})
# fmt: on
"""Names that a search in a folder takes for recordings, in lower case. The decoder itself ignores names."""

UNKNOWN_FORMAT = f"The format of this file is unknown; {ACCEPTED}."


class AudioFile:
    """A binary file as decoders read it.

    `seek` stays inside the file: broken headers make decoders seek to impossible positions. When the budget is spent,
    the file reads as ended.
    """

    def __init__(self, raw: BinaryIO, budget: Budget) -> None:
        self._raw = raw
        self._budget = budget
        self.size = raw.seek(0, os.SEEK_END)
        raw.seek(0)
        self.tell = raw.tell

    def read(self, count: int) -> bytes:
        return b"" if self._budget.is_spent else self._raw.read(count)

    def readinto(self, buffer: memoryview) -> int:
        if self._budget.is_spent:
            return 0
        count: int = self._raw.readinto(buffer)  # type: ignore[attr-defined]
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_CUR: self._raw.tell(), os.SEEK_END: self.size}.get(whence, 0)
        return self._raw.seek(min(max(0, origin + offset), self.size))

    def peek(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`; the position is the beginning of the file afterwards."""
        self.seek(offset)
        content = self._raw.read(count)
        self.seek(0)
        return content


@contextmanager
def open_audio(source: bytes | os.PathLike[str], max_bytes: int, budget: Budget) -> Iterator[AudioFile]:
    raw: BinaryIO
    if isinstance(source, bytes | bytearray | memoryview):
        raw = io.BytesIO(source)
    else:
        path = Path(source)
        if not path.is_file():  # excludes pipes and devices, which have no end
            raise InvalidParameter("source", "is not a file; give the path of a recording")
        try:
            raw = path.open("rb")
        except OSError as error:
            raise InvalidParameter("source", f"cannot be read: {error.strerror}") from error
    with raw:
        file = AudioFile(raw, budget)
        if not file.size:
            raise EmptyAudio("The file is empty; send a recording.")
        if file.size > max_bytes:
            raise UploadTooLarge(
                f"The recording has {file.size:,} bytes, and at most {max_bytes:,} are accepted; send a shorter or "
                "compressed version."
            )
        yield file


class Container(NamedTuple):
    name: str
    ffmpeg_format: str  # given to FFmpeg, so that it tries no other format, such as playlists
    libsndfile: bool  # whether libsndfile is tried first


WAV = Container("wav", "wav", True)
AIFF = Container("aiff", "aiff", True)
FLAC = Container("flac", "flac", True)
OGG = Container("ogg", "ogg", True)
MP3 = Container("mp3", "mp3", True)
AAC = Container("aac", "aac", False)
MP4 = Container("mp4", "mov", False)
WEBM = Container("webm", "matroska", False)
MP4_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def sniff(file: AudioFile) -> Container:
    """Recognise the container by the first bytes; file names and media types are ignored."""
    head = file.peek(0, 16)
    if head.startswith(b"ID3") and len(head) >= 10:
        tag_size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        after_tag = file.peek(10 + tag_size, 16)
        return _sniff_audio(after_tag) or MP3  # junk between the tag and the first frame is common in MP3
    container = _sniff_audio(head)
    if container is None:
        raise UnsupportedMedia(UNKNOWN_FORMAT)
    return container


def _sniff_audio(head: bytes) -> Container | None:
    container = None
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        container = WAV
    elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        container = AIFF
    elif head[:4] == b"fLaC":
        container = FLAC
    elif head[:4] == b"OggS":
        container = OGG
    elif head[:4] == b"\x1a\x45\xdf\xa3":
        container = WEBM
    elif head[4:8] in MP4_FIRST_BOXES:
        container = MP4
    elif len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # The two bits of the layer are 0 in AAC frames (ADTS), and never 0 in MPEG audio frames.
        container = MP3 if head[1] & 0x06 else AAC
    return container


def ends_early(file: AudioFile) -> bool:
    """Whether a WAV, AIFF or OGG file is shorter than it declares; libsndfile does not report that."""
    head = file.peek(0, 12)
    if head[:4] == b"OggS":
        tail = file.peek(file.size - 2 * 2**16, 2 * 2**16)  # the largest page has 65,307 bytes
        page = tail[tail.rfind(b"OggS") :]
        is_last = len(page) > 5 and bool(page[5] & 0x04)
        return not is_last
    if head[:4] in (b"RIFF", b"FORM"):
        byte_order = "little" if head[:4] == b"RIFF" else "big"
        offset = 12
        for _ in range(64):  # more chunks than real files have; a hostile file could have millions
            chunk = file.peek(offset, 8)
            if len(chunk) < 8:
                return False
            length = int.from_bytes(chunk[4:], byte_order)  # type: ignore[arg-type]
            if chunk[:4] in (b"data", b"SSND"):
                written_by_a_stream = length in (0, 0x7FFFFFFF, 0xFFFFFFFF) or length >= 0xFFFFF000
                return not written_by_a_stream and offset + 8 + length > file.size
            offset += 8 + length + length % 2
    return False
