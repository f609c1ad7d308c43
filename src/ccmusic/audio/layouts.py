"""Which channels of a recording carry low frequencies only (LFE), by the conventions of its format."""

from __future__ import annotations

import re

_MASK_LFE = 0x8  # SPEAKER_LOW_FREQUENCY of WAVE_FORMAT_EXTENSIBLE
_EXTENSIBLE = b"\xfe\xff"
_FLAC_MASK = re.compile(rb"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x([0-9a-f]{1,8})", re.IGNORECASE)
HEAD_BYTES = 4096
"""Of a file; a mask that is farther from its beginning is not found."""


def low_frequency_channels(head: bytes, format_name: str, subtype: str, channels: int) -> tuple[int, ...]:
    """Positions of the LFE channels of a file that libsndfile reads, which itself does not tell them.

    Parameters
    ----------
    head : bytes
        The first `HEAD_BYTES` of the file.
    format_name, subtype : str
        As libsndfile names them.
    channels : int

    Returns
    -------
    tuple of int
        By the mask of the speakers, in WAV and FLAC. Without one, 6 to 8 channels are 5.1 to 7.1: LFE is the fourth
        channel, in Vorbis and Opus the last.
    """
    mask = _speaker_mask(head)
    if mask:
        return ((mask & (_MASK_LFE - 1)).bit_count(),) if mask & _MASK_LFE else ()
    if not 6 <= channels <= 8:
        return ()
    return (channels - 1 if format_name == "OGG" and subtype in ("VORBIS", "OPUS") else 3,)


def _speaker_mask(head: bytes) -> int:
    if head[:4] == b"fLaC" and (found := _FLAC_MASK.search(head)):
        return int(found[1], 16)
    place = head.find(b"fmt ") + 8
    if head[8:12] == b"WAVE" and place >= 8 and head[place : place + 2] == _EXTENSIBLE:
        return int.from_bytes(head[place + 20 : place + 24], "little")
    return 0
