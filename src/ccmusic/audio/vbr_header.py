"""The first frame of many MP3 files, which says how many frames follow and holds no sound: Xing, Info or VBRI."""

from __future__ import annotations

from typing import NamedTuple

from ccmusic.audio.frames import Header

HEAD_BYTES = 64
VBRI_PLACE = 36
XING_PLACES = {((1, 3), 2): 36, ((1, 3), 1): 21, ((2, 3), 2): 21, ((2, 3), 1): 13, ((4, 3), 2): 21, ((4, 3), 1): 13}
"""Behind the side information, whose length depends on the version and the channels; only in layer III."""
HAS_FRAMES, HAS_BYTES = 1, 2


class Declared(NamedTuple):
    """How many frames follow the first one, and how many bytes all of them have; 0 if that is not said."""

    n_frames: int
    n_bytes: int


def declares(head: bytes, frame: Header) -> bool:
    """Whether the frame that begins with these `HEAD_BYTES` is such a frame, and none with sound."""
    place = XING_PLACES.get((frame.layer, frame.channels), 0)
    return place > 0 and (head[place : place + 4] in (b"Xing", b"Info") or head[VBRI_PLACE : VBRI_PLACE + 4] == b"VBRI")


def read_declared(head: bytes, frame: Header) -> Declared | None:
    """What the frame that begins with these `HEAD_BYTES` declares; None if it is one with sound.

    Parameters
    ----------
    head : bytes
    frame : Header
        The header of the frame.

    References
    ----------
    The LAME tag: http://gabriel.mp3-tech.org/mp3infotag.html
    """
    if not declares(head, frame):
        return None
    if head[VBRI_PLACE : VBRI_PLACE + 4] == b"VBRI":
        return Declared(_number(head, VBRI_PLACE + 14), _number(head, VBRI_PLACE + 10))
    place = XING_PLACES[frame.layer, frame.channels]
    flags = _number(head, place + 4)
    n_frames = _number(head, place + 8) if flags & HAS_FRAMES else 0
    n_bytes = _number(head, place + (12 if flags & HAS_FRAMES else 8)) if flags & HAS_BYTES else 0
    return Declared(n_frames, n_bytes)


def _number(head: bytes, place: int) -> int:
    return int.from_bytes(head[place : place + 4], "big")
