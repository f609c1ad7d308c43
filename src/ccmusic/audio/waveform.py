"""Makes the waveform from decoded blocks: checks, mixes, counts, resamples and collects them."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import soxr

from ccmusic.audio.budget import Budget
from ccmusic.audio.limits import DecodeLimits
from ccmusic.audio.mixing import ChannelMix
from ccmusic.errors import AudioTooLong, UndecodableAudio, UnsupportedMedia

SAMPLE_RATE = 22050
DECLARED_FACTOR = 1.1
DECLARED_SECONDS = 10.0
"""A recording may be longer than it declares by this factor and by so many seconds."""
COUNTED_MORE_SECONDS = 1.0  # the delay of an encoder is counted and not heard
SILENT_PEAK = 1e-3
BEGINNING_ONLY = ", or have its first 30 s analysed (windows=first30; on the command line --windows first30)"
LARGEST_SAMPLE = 1e10  # the square of larger samples may overflow in float32; float WAV with integer scale is far below
MOST_UNUSABLE_SHARE = 0.001
"""So many samples may be no numbers, infinite or larger: a player plays them as a click, and here they are silence."""


class Mark(NamedTuple):
    """A place in a waveform: its bytes; the seconds, the samples of all channels and the unusable ones before it."""

    n_bytes: int
    seconds: float
    n_samples: int
    n_unusable: int


class Taken(NamedTuple):
    """What was removed from the end of a waveform: its bytes, and the place where it ended."""

    content: bytes
    end: Mark


class WaveformSink:
    """Takes decoded blocks: checks, mixes, counts, resamples and collects them.

    The sample rate and the number of channels may change: `start` begins each stretch.
    """

    def __init__(self, limits: DecodeLimits, budget: Budget, first_seconds: float | None) -> None:
        self._limits = limits
        self._budget = budget
        self._first_seconds = first_seconds
        self._samples = bytearray()  # grows in place; a list of blocks would need a copy at the end
        self._resampler: soxr.ResampleStream | None = None
        self._mix = ChannelMix(SAMPLE_RATE, 1)
        self._most_seconds = math.inf
        self._begin = Mark(0, 0.0, 0, 0)  # of the stretch
        self.n_unusable = 0
        self.sample_rate = 0
        self.channels = 0
        self.n_frames = 0
        self.full = False
        self.resample_seconds = 0.0
        self.channels_cancel = False

    def check(self, sample_rate: int, channels: int) -> None:
        limits = self._limits
        if not 1 <= channels <= limits.max_channels:
            raise UnsupportedMedia(
                f"The recording declares {channels:,} channels, and 1 to {limits.max_channels} are accepted "
                "(CCMUSIC_MAX_CHANNELS); send a stereo or mono version."
            )
        if not limits.min_sample_rate <= sample_rate <= limits.max_sample_rate:
            raise UnsupportedMedia(
                f"The recording declares a sample rate of {sample_rate:,} Hz, and {limits.min_sample_rate:,} to "
                f"{limits.max_sample_rate:,} Hz are accepted (CCMUSIC_MIN_SAMPLE_RATE, CCMUSIC_MAX_SAMPLE_RATE); send "
                "a version at 44,100 Hz."
            )

    @property
    def seconds(self) -> float:
        """The length of all that was written."""
        return self._begin.seconds + (self.n_frames / self.sample_rate if self.n_frames else 0.0)

    def start(self, sample_rate: int, channels: int, low_frequency: Collection[int] = ()) -> None:
        """Begin a stretch with this sample rate, number of channels and positions of the LFE channels."""
        self.check(sample_rate, channels)
        self._begin = self.mark()
        self.n_frames = 0
        self._resampler = None
        self.sample_rate, self.channels = sample_rate, channels
        self._mix = ChannelMix(sample_rate, channels, low_frequency)
        if sample_rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def refuse_declared(self, seconds: float, sample_rate: int, channels: int) -> None:
        """Refuse a recording that declares to be too long before decoding it; the actual length is counted anyway."""
        if self._first_seconds is None:
            self._refuse_long(self._begin.seconds + seconds, self._begin.n_samples + seconds * sample_rate * channels)

    def note_counted(self, seconds: float) -> bool:
        """So many seconds were counted before anything is decoded; return whether no more are wanted.

        Raises
        ------
        AudioTooLong
        """
        self._budget.note_counted(seconds)
        if self._first_seconds is None:
            self._refuse_long(seconds, 0.0)
        return self._first_seconds is not None and seconds > self._first_seconds + COUNTED_MORE_SECONDS

    def check_cost(self) -> None:
        """Raise `TooCostly` if decoding has taken too much processor time for the music so far."""
        self._budget.check()

    def hold_to(self, seconds: float) -> None:
        """Refuse the recording when it is longer than it declares; 0 if that is not known.

        For containers whose decoders end at the declared length: Ogg has it on its last page.
        """
        if seconds:
            self._most_seconds = DECLARED_FACTOR * seconds + DECLARED_SECONDS

    def _refuse_long(self, seconds: float, n_samples: float) -> None:
        if seconds > self._limits.max_seconds:
            raise AudioTooLong(
                f"The recording is longer than the {self._limits.max_seconds:,.0f} s that are accepted "
                f"(CCMUSIC_MAX_SECONDS); send an excerpt{BEGINNING_ONLY}."
            )
        if n_samples > self._limits.max_samples:
            raise AudioTooLong(
                f"The recording has more than the {self._limits.max_samples:,} samples in all its channels that are "
                "accepted (CCMUSIC_MAX_SAMPLES); send an excerpt, or a version with fewer channels or a lower sample "
                f"rate{BEGINNING_ONLY}."
            )

    def write(self, block: np.ndarray) -> None:
        """Add one block [frames, channels]."""
        if self._first_seconds is not None:
            wanted = math.ceil((self._first_seconds - self._begin.seconds) * self.sample_rate)
            block = block[: wanted - self.n_frames]
            self.full = self.n_frames + len(block) >= wanted
        if block.size and not (block.max() < LARGEST_SAMPLE and block.min() > -LARGEST_SAMPLE):  # false for NaN
            usable = np.abs(block) < LARGEST_SAMPLE
            self.n_unusable += block.size - int(np.count_nonzero(usable))
            block = np.where(usable, block, np.float32(0.0))
        self.n_frames += len(block)
        n_samples = self._begin.n_samples + self.n_frames * self.channels
        self._refuse_long(self.seconds, n_samples)
        if self.n_frames / self.sample_rate > self._most_seconds:
            raise UndecodableAudio("The recording goes on for longer than it declares; export it again.")
        self._budget.note_music(self.seconds, n_samples)
        self._collect(self._mix.add(block), last=False)

    def finish(self) -> np.ndarray:
        """The waveform [n] at 22,050 Hz, with n = ceil(seconds * 22,050) as in librosa, for each stretch.

        Raises
        ------
        UndecodableAudio
            Too many samples are no finite numbers.
        """
        if self.n_unusable > MOST_UNUSABLE_SHARE * self.mark().n_samples:
            raise UndecodableAudio("The recording has many samples that are not finite numbers; export it again.")
        return np.frombuffer(self._samples, dtype=np.float32)

    def mark(self) -> Mark:
        """End the stretch; return the place where the next one begins."""
        if self.n_frames:
            self._collect(self._mix.finish(), last=True)
            n_bytes = self._begin.n_bytes + 4 * math.ceil(self.n_frames * SAMPLE_RATE / self.sample_rate)
            del self._samples[n_bytes:]
            self._samples += bytes(n_bytes - len(self._samples))
            if self._mix.gain != 1.0:
                np.frombuffer(self._samples, dtype=np.float32)[self._begin.n_bytes // 4 :] *= np.float32(self._mix.gain)
            self.channels_cancel |= self._mix.cancelled
            n_samples = self._begin.n_samples + self.n_frames * self.channels
            self._begin = Mark(n_bytes, self.seconds, n_samples, self.n_unusable)
            self.n_frames = 0
            self._most_seconds = math.inf
        return self._begin

    def is_audible_since(self, place: Mark) -> bool:
        """Whether a sample after `place` is above -60 dB of full scale."""
        self.mark()
        written = np.frombuffer(self._samples, dtype=np.float32)[place.n_bytes // 4 :]
        return bool(len(written)) and max(float(written.max()), -float(written.min())) > SILENT_PEAK

    def forget(self, place: Mark) -> None:
        """Remove all that was written since `place`."""
        self.mark()
        del self._samples[place.n_bytes :]
        self._begin, self.n_unusable = place, place.n_unusable
        self.full = False

    def take_back(self, place: Mark) -> Taken:
        """Remove all that was written since `place`, and return it."""
        end = self.mark()
        taken = Taken(bytes(self._samples[place.n_bytes :]), end)
        self.forget(place)
        return taken

    def put_back(self, place: Mark, taken: Taken) -> None:
        """Remove all that was written since `place`, and write again what was removed there before."""
        self.take_back(place)
        self._samples += taken.content
        self._begin, self.n_unusable = taken.end, taken.end.n_unusable

    def _collect(self, mono: np.ndarray, *, last: bool) -> None:
        if self._resampler is not None:
            begin = time.perf_counter()
            mono = self._resampler.resample_chunk(mono, last=last)
            self.resample_seconds += time.perf_counter() - begin
        self._samples += np.ascontiguousarray(mono).data.cast("B")
