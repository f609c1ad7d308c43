"""The limits of a recording."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Limits of a recording; a recording beyond them is refused before it takes memory.

    Parameters
    ----------
    max_bytes : int
        Size of the encoded file.
    max_channels : int
    min_sample_rate, max_sample_rate : int
        In Hz. The lower limit bounds how much resampling can enlarge a recording.
    max_seconds : float
        Length of the decoded recording.
    max_samples : int
        Decoded samples of all channels together.
    decode_seconds, decode_share : float
        Processor time that decoding may take: so many seconds, and this share of the length of the music. Music with
        more than 384,000 samples in a second (eight channels at 48,000 Hz) counts as longer in proportion.
    decode_memory_bytes : int
        Memory that decoding may take in a worker or in `batch`, beside the waveform and the file.
    """

    max_bytes: int = 100 * 2**20
    max_channels: int = 64
    min_sample_rate: int = 4000
    max_sample_rate: int = 768_000
    max_seconds: float = 3600.0
    max_samples: int = 1_400_000_000
    decode_seconds: float = 0.5
    decode_share: float = 0.05
    decode_memory_bytes: int = 96 * 2**20
