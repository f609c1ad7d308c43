"""Makes the waveform from decoded blocks: checks, mixes, counts, resamples and collects them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import soxr

from ccmusic.errors import AudioTooLong, UndecodableAudio, UnsupportedMedia

SAMPLE_RATE = 22050
LARGEST_SAMPLE = 1e10  # the square of larger samples may overflow in float32; float WAV with integer scale is far below


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
    """

    max_bytes: int = 100 * 2**20
    max_channels: int = 8
    min_sample_rate: int = 4000
    max_sample_rate: int = 192_000
    max_seconds: float = 3600.0


class WaveformSink:
    """Takes decoded blocks: checks, mixes, counts, resamples and collects them."""

    def __init__(self, limits: DecodeLimits, first_seconds: float | None) -> None:
        self._limits = limits
        self._first_seconds = first_seconds
        self._samples = bytearray()  # grows in place; a list of blocks would need a copy at the end
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
        """Refuse a recording that declares to be too long before decoding it; the actual length is counted anyway."""
        if self._first_seconds is None and seconds > self._limits.max_seconds:
            raise self._too_long()

    def write(self, block: np.ndarray) -> None:
        """Add one block [frames, channels]."""
        with np.errstate(invalid="ignore", over="ignore"):  # the check below reports it
            # A matrix product with equal weights; np.mean along the short axis takes ten times as long.
            mono = block @ self._mix
        if not (mono.max() < LARGEST_SAMPLE and mono.min() > -LARGEST_SAMPLE):  # false for NaN
            raise UndecodableAudio("The recording has samples that are not finite numbers; export it again.")
        if self._first_seconds is not None:
            wanted = math.ceil(self._first_seconds * self.sample_rate)
            mono = mono[: wanted - self.n_frames]
            self.full = self.n_frames + len(mono) >= wanted
        self.n_frames += len(mono)
        if self.n_frames > self._limits.max_seconds * self.sample_rate:
            raise self._too_long()
        self._collect(mono, last=False)

    def finish(self) -> np.ndarray:
        """The waveform [n] at 22,050 Hz, with n = ceil(seconds * 22,050) as in librosa."""
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
