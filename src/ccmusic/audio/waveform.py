"""The decoded blocks on their way to the waveform: refused, mixed, counted, resampled, collected."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import soxr

from ccmusic.errors import AudioTooLong, UndecodableAudio, UnsupportedMedia

SAMPLE_RATE = 22050
LARGEST_SAMPLE = 1e10  # beyond it float32 overflows when squared; no integer-scaled float WAV reaches it


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What a recording may be at most; anything beyond is refused before it takes memory.

    Parameters
    ----------
    max_bytes : int
        Size of the encoded file.
    max_channels : int
    min_sample_rate, max_sample_rate : int
        In Hz; the lower one bounds how far resampling can blow a file up.
    max_seconds : float
        Counted while decoding.
    """

    max_bytes: int = 100 * 2**20
    max_channels: int = 8
    min_sample_rate: int = 4000
    max_sample_rate: int = 192_000
    max_seconds: float = 3600.0


class WaveformSink:
    """Takes blocks as they are decoded: refuses, mixes, counts, resamples, collects."""

    def __init__(self, limits: DecodeLimits, first_seconds: float | None) -> None:
        self._limits = limits
        self._first_seconds = first_seconds
        self._samples = bytearray()  # grows in place, where a list of blocks would be copied into one at the end
        self._resampler: soxr.ResampleStream | None = None
        self._mix = np.ones(1, dtype=np.float32)
        self.sample_rate = 0
        self.channels = 0
        self.n_frames = 0
        self.full = False
        self.resample_seconds = 0.0

    def check(self, sample_rate: int, channels: int) -> None:
        limits = self._limits
        if not 1 <= channels <= limits.max_channels:
            raise UnsupportedMedia(
                f"The recording declares {channels:,} channels, and 1 to {limits.max_channels} are accepted; send a "
                "stereo or mono version."
            )
        if not limits.min_sample_rate <= sample_rate <= limits.max_sample_rate:
            raise UnsupportedMedia(
                f"The recording declares a sample rate of {sample_rate:,} Hz, and {limits.min_sample_rate:,} to "
                f"{limits.max_sample_rate:,} Hz are accepted; send a version at 44,100 Hz."
            )

    def start(self, sample_rate: int, channels: int) -> None:
        self.check(sample_rate, channels)
        self.sample_rate, self.channels = sample_rate, channels
        self._mix = np.full(channels, 1 / channels, dtype=np.float32)
        if sample_rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def refuse_declared(self, seconds: float) -> None:
        """Spare the decoding of what says itself that it is too long; what lies about it is counted."""
        if self._first_seconds is None and seconds > self._limits.max_seconds:
            raise self._too_long()

    def write(self, block: np.ndarray) -> None:
        """Add one block [frames, channels]."""
        with np.errstate(invalid="ignore", over="ignore"):  # told below, in a sentence
            # A product with equal weights: np.mean along the short axis takes ten times as long.
            mono = block @ self._mix
        if not (mono.max() < LARGEST_SAMPLE and mono.min() > -LARGEST_SAMPLE):  # false for NaN, too
            raise UndecodableAudio("The recording holds samples that are no finite numbers; export it again.")
        if self._first_seconds is not None:
            wanted = math.ceil(self._first_seconds * self.sample_rate)
            mono = mono[: wanted - self.n_frames]
            self.full = self.n_frames + len(mono) >= wanted
        self.n_frames += len(mono)
        if self.n_frames > self._limits.max_seconds * self.sample_rate:
            raise self._too_long()
        self._collect(mono, last=False)

    def finish(self) -> np.ndarray:
        """The waveform [n] at 22,050 Hz, n = ceil(seconds * 22,050) as librosa has it."""
        self._collect(np.empty(0, dtype=np.float32), last=True)
        n_samples = math.ceil(self.n_frames * SAMPLE_RATE / self.sample_rate)
        missing = n_samples * 4 - len(self._samples)
        if missing > 0:
            self._samples += bytes(missing)
        return np.frombuffer(self._samples, dtype=np.float32)[:n_samples]

    def _collect(self, mono: np.ndarray, *, last: bool) -> None:
        if self._resampler is not None:
            begin = time.perf_counter()
            mono = self._resampler.resample_chunk(mono, last=last)
            self.resample_seconds += time.perf_counter() - begin
        self._samples += np.ascontiguousarray(mono).data.cast("B")

    def _too_long(self) -> AudioTooLong:
        return AudioTooLong(
            f"The recording is longer than the {self._limits.max_seconds:,.0f} s that are accepted; send an excerpt."
        )
