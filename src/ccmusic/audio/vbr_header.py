"""The first frame of many MP3 files, which says how many frames follow and holds no sound: Xing, Info or VBRI."""

from __future__ import annotations

from typing import NamedTuple

from ccmusic.audio.formats import MP3
from ccmusic.audio.frames import Header, Reader

HEAD_BYTES = 64
VBRI_PLACE = 36
HAS_FRAMES, HAS_BYTES = 1, 2


class Declared(NamedTuple):
    """How many frames follow the first one, and how many bytes all of them have; 0 if that is not said."""

    n_frames: int
    n_bytes: int


def read_declared(reader: Reader, position: int, frame: Header) -> Declared | None:
    """What the frame at `position` declares; None if it is one with sound.

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
        return Declared(_number(head, VBRI_PLACE + 14), _number(head, VBRI_PLACE + 10))
    place = _xing_place(frame)
    if head[place : place + 4] not in (b"Xing", b"Info"):
        return None
    flags = _number(head, place + 4)
    n_frames = _number(head, place + 8) if flags & HAS_FRAMES else 0
    n_bytes = _number(head, place + (12 if flags & HAS_FRAMES else 8)) if flags & HAS_BYTES else 0
    return Declared(n_frames, n_bytes)


def _number(head: bytes, place: int) -> int:
    return int.from_bytes(head[place : place + 4], "big")


def _xing_place(frame: Header) -> int:
    """Behind the side information, whose length depends on the version and the channels."""
    is_first_version = frame.layer[0] == 1
    return 4 + {(True, 2): 32, (True, 1): 17, (False, 2): 17, (False, 1): 9}[is_first_version, frame.channels]


def may_declare(frame: Header) -> bool:
    """Whether a frame with this header can be such a frame: only those of layer III."""
    return frame.format is MP3 and frame.layer[1] == 3
