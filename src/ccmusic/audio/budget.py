"""What decoding a recording may cost: processor time and memory in proportion to the music that it holds.

The size of a file says nothing about its cost: tables, tags and tracks that a few kilobytes declare can take minutes
and gigabytes. So the time is counted while a file is decoded. When it is used up, the file reads as ended, at which
every decoder stops soon. In a worker and in `batch` the kernel holds the same bounds (`Kernel`), also while a library
reads nothing.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol

from ccmusic.audio.limits import DecodeLimits
from ccmusic.errors import EmptyAudio, TooCostly, UndecodableAudio, UnsupportedMedia

STEP_SECONDS = 5.0
"""The kernel's bounds grow after each so many seconds of music."""
SAMPLES_PER_SECOND = 8 * 48_000
"""More samples than so many in all channels count as more music: decoding takes time for each sample."""
COUNTING_SHARE = 0.0005
"""Processor time that counting may take, as a share of the length of the music; MP3 takes 0.00006."""
COSTS_TIME = (
    "This file takes much more processor time to open than the music in it needs (CCMUSIC_DECODE_SECONDS, "
    "CCMUSIC_DECODE_SHARE); export it again, for example as WAV or MP3."
)
COSTS_MEMORY = (
    "This file takes much more memory to open than the music in it needs (CCMUSIC_DECODE_MEMORY_BYTES); export it "
    "again, for example as WAV or MP3."
)


class Kernel(Protocol):
    """Bounds of this process that the kernel holds while a recording is decoded."""

    def allow(self, music_seconds: float, processor_seconds: float) -> None:
        """Set the bounds for so much music, and for so much processor time from now on."""

    def lift(self) -> None:
        """End the bounds."""

    @property
    def holds_memory(self) -> bool:
        """Whether the bound on memory is lower than any that this process had before."""


class _NoKernel:
    """No bounds: this process belongs to somebody else."""

    holds_memory = False

    def allow(self, music_seconds: float, processor_seconds: float) -> None:
        """Do nothing."""

    def lift(self) -> None:
        """Do nothing."""


NO_KERNEL: Kernel = _NoKernel()


class Budget:
    """The processor time of one recording; a context in which the kernel's bounds hold.

    Parameters
    ----------
    limits : DecodeLimits
    kernel : Kernel
    """

    def __init__(self, limits: DecodeLimits, kernel: Kernel = NO_KERNEL) -> None:
        self._limits = limits
        self._kernel = kernel
        self._music_seconds = 0.0
        self._stepped_at = 0.0
        self._began = 0.0
        self._allowed = limits.decode_seconds
        self._unspent_until = 0.0

    def __enter__(self) -> Budget:
        self._began = time.thread_time()
        self._kernel.allow(0.0, self._allowed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self._kernel.lift()
        if isinstance(error, MemoryError) and self._kernel.holds_memory:
            raise TooCostly(COSTS_MEMORY) from error
        if isinstance(error, UndecodableAudio | UnsupportedMedia | EmptyAudio) and self.is_spent:
            raise TooCostly(COSTS_TIME) from error  # the decoder found the file broken because it read as ended

    @property
    def is_spent(self) -> bool:
        """Whether all of the processor time is used up."""
        # Asked at every read, for MP3 80 times in a second of music. The processor time costs a system call, this none.
        now = time.perf_counter()
        if now < self._unspent_until:
            return False
        left = self._allowed - (time.thread_time() - self._began)
        self._unspent_until = now + left  # no thread uses more processor time than passes
        return left < 0

    def note_music(self, seconds: float, n_samples: int = 0) -> None:
        """So much music is decoded, with so many samples in all channels; the bounds grow with it. For each block.

        Raises
        ------
        TooCostly
        """
        work = max(seconds, n_samples / SAMPLES_PER_SECOND)
        self._allowed = max(self._allowed, self._limits.decode_seconds + self._limits.decode_share * work)
        self.check()
        if work >= self._stepped_at + STEP_SECONDS:
            self._stepped_at, self._music_seconds = work, seconds
            self._kernel.allow(seconds, self._allowed - (time.thread_time() - self._began))

    def note_counted(self, seconds: float) -> None:
        """So much music was counted in the headers of frames: a little more time is allowed, and no more memory."""
        self._allowed = max(self._allowed, self._limits.decode_seconds + COUNTING_SHARE * seconds)
        self._kernel.allow(self._music_seconds, self._allowed - (time.thread_time() - self._began))

    def check(self) -> None:
        """Raise `TooCostly` if the processor time is used up."""
        if self.is_spent:
            raise TooCostly(COSTS_TIME)
