"""How many bytes a file says it has, in containers whose decoders do not tell that the end is missing."""

from __future__ import annotations

from typing import Literal

from ccmusic.audio.audio_file import AudioFile
from ccmusic.audio.riff import MOST_CHUNKS

SLACK_BYTES = 2**12
"""Programs count the header, or the padding at the end, in different ways."""
UNKNOWN = 2**63
"""Streams write the largest numbers, since they do not know their length."""


def ends_before_its_size(file: AudioFile) -> bool:
    """Whether RF64, BW64, W64, CAF, AU or DSF declares more bytes than the file has."""
    head = file.peek(0, 32)
    declared = 0
    if head[:4] in (b"RF64", b"BW64") and head[12:16] == b"ds64":
        declared = int.from_bytes(head[20:28], "little")
    elif head[:4] == b"riff":
        declared = int.from_bytes(head[16:24], "little")
    elif head[:4] == b"DSD ":
        declared = int.from_bytes(head[12:20], "little")
    elif head[:4] in (b".snd", b"dns."):
        order: Literal["big", "little"] = "big" if head[:1] == b"." else "little"
        begin, length = (int.from_bytes(head[at : at + 4], order) for at in (4, 8))
        declared = begin + length if length < 2**32 - 1 else 0
    elif head[:4] == b"caff":
        declared = _end_of_caf(file)
    return file.size + SLACK_BYTES < declared < UNKNOWN


def _end_of_caf(file: AudioFile) -> int:
    position = 8
    for _ in range(MOST_CHUNKS):
        head = file.peek(position, 12)
        length = int.from_bytes(head[4:], "big")
        if head[:4] == b"data" or len(head) < 12:
            return position + 12 + length
        position += 12 + length
    return 0
