"""Finds sound that is encrypted (DRM): FFmpeg decodes it to silence or noise, and does not say so.

Only the headers of boxes and objects are read, a bounded number of them.
"""

from __future__ import annotations

from uuid import UUID

from ccmusic.audio.audio_file import AudioFile
from ccmusic.audio.formats import Format
from ccmusic.audio.mp4_boxes import MOST_BOXES, Box, boxes, inside
from ccmusic.errors import UnsupportedMedia

PROTECTED = (
    "The sound of this file is protected (DRM): only the programs of its shop can play it. Send a recording without "
    "protection."
)
ENTRY_BYTES = 4096
"""So much of the description of a track is searched."""
PROTECTED_ENTRIES = (b"enca", b"drms", b"aavd")
"""Kinds of sound in an MP4 that are encrypted: by the standard, by Apple, by Audible."""
ASF_HEADER = UUID("75b22630-668e-11cf-a6d9-00aa0062ce6c").bytes_le
ASF_PROTECTED = frozenset(
    UUID(name).bytes_le
    for name in (
        "2211b3fb-bd23-11d2-b4b7-00a0c955fc6e",  # content encryption
        "298ae614-2622-4c17-b935-dae07ee9289c",  # extended content encryption
    )
)
ASF_HEADER_BYTES = 30


def protected_tracks(file: AudioFile, found: Format) -> frozenset[int]:
    """Identities of the tracks whose sound is encrypted, as far as only the file tells and not FFmpeg.

    Raises
    ------
    UnsupportedMedia
        The whole file is encrypted.
    """
    if found.name == "wma" and _is_protected_asf(file):
        raise UnsupportedMedia(PROTECTED)
    return _protected_mp4_tracks(file) if found.name == "mp4" else frozenset()


def _protected_mp4_tracks(file: AudioFile) -> frozenset[int]:
    """Identities of the tracks of an MP4 whose sound is encrypted."""
    found = set()
    for moov in boxes(file):
        if moov.kind != b"moov":
            continue
        for track in boxes(file, moov):
            if track.kind == b"trak" and _is_protected(file, track):
                found.add(_identity(file, track))
    return frozenset(found)


def _is_protected_asf(file: AudioFile) -> bool:
    """Whether the header of a WMA or ASF file says that its content is encrypted."""
    head = file.peek(0, 24)
    if head[:16] != ASF_HEADER:
        return False
    end = int.from_bytes(head[16:24], "little")
    position = ASF_HEADER_BYTES
    for _ in range(MOST_BOXES):
        head = file.peek(position, 24)
        if position + 24 > min(end, file.size):
            break
        if head[:16] in ASF_PROTECTED:
            return True
        position += max(24, int.from_bytes(head[16:24], "little"))
    return False


def _is_protected(file: AudioFile, track: Box) -> bool:
    descriptions = inside(file, track, b"mdia", b"minf", b"stbl", b"stsd")
    if descriptions is None:
        return False
    entries = file.peek(descriptions.begin, min(ENTRY_BYTES, descriptions.end - descriptions.begin))
    return entries[12:16] in PROTECTED_ENTRIES or b"sinf" in entries


def _identity(file: AudioFile, track: Box) -> int:
    header = inside(file, track, b"tkhd")
    content = file.peek(header.begin, 24) if header else b""
    at = 20 if content[:1] == b"\1" else 12  # version 1 has times of 64 bits before it
    return int.from_bytes(content[at : at + 4], "big")
