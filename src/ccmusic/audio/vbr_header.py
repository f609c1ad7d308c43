"""The first frame of many MP3 files, which says how many frames follow and holds no sound: Xing, Info or VBRI."""

from __future__ import annotations

from ccmusic.audio.formats import MP3
from ccmusic.audio.frames import Header, Reader

HEAD_BYTES = 64
VBRI_PLACE = 36
HAS_COUNT = 1


def declared_frames(reader: Reader, position: int, frame: Header) -> int | None:
    """How many frames are declared to follow, 0 if that is not said; None if the frame at `position` has sound.

    Parameters
    ----------
    reader : Reader
    position : int
    frame : Header
        The header of the frame.

    References
    ----------
    The LAME tag: http://gabriel.mp3-tech.org/mp3infotag.html
    """
    head = reader.at(position, HEAD_BYTES)
    if head[VBRI_PLACE : VBRI_PLACE + 4] == b"VBRI":
        return int.from_bytes(head[VBRI_PLACE + 14 : VBRI_PLACE + 18], "big")
    place = _xing_place(frame)
    if head[place : place + 4] not in (b"Xing", b"Info"):
        return None
    return int.from_bytes(head[place + 8 : place + 12], "big") if head[place + 7] & HAS_COUNT else 0


def _xing_place(frame: Header) -> int:
    """Behind the side information, whose length depends on the version and the channels."""
    is_first_version = frame.layer[0] == 1
    return 4 + {(True, 2): 32, (True, 1): 17, (False, 2): 17, (False, 1): 9}[is_first_version, frame.channels]


def may_declare(frame: Header) -> bool:
    """Whether a frame with this header can be such a frame: only those of layer III."""
    return frame.format is MP3 and frame.layer[1] == 3
