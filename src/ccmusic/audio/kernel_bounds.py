"""The bounds that the kernel sets a process while it decodes: memory and processor time.

A process that reaches the bound on processor time is inside a library that cannot be stopped otherwise. It ends by
SIGPROF, and the process that started it refuses the recording. The bound on memory makes allocations fail, and the
process continues.
"""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

from ccmusic.audio.limits import DecodeLimits
from ccmusic.audio.waveform import SAMPLE_RATE

GRACE_SECONDS = 0.3
"""Processor time beyond the budget, in which the decoder sees that its file reads as ended."""
BOUND_SIGNAL = signal.SIGPROF
"""Ends a process that reaches the bound on processor time."""
BYTES_PER_SECOND = 4 * SAMPLE_RATE * 9 // 8
"""Memory that a second of the waveform takes while it grows."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class DecodingBounds:
    """The kernel's bounds on the process while it decodes; see `ccmusic.audio.budget.Kernel`.

    Parameters
    ----------
    limits : DecodeLimits
    """

    def __init__(self, limits: DecodeLimits) -> None:
        self._memory_bytes = limits.decode_memory_bytes
        self._step_bytes = BYTES_PER_SECOND * 60
        self._before: tuple[int, int] | None = None
        self._base = 0
        self.holds_memory = False

    def allow(self, music_seconds: float, processor_seconds: float) -> None:
        """Set the bounds for so much music, and for so much processor time from now on."""
        signal.setitimer(signal.ITIMER_PROF, max(0.0, processor_seconds) + GRACE_SECONDS)
        if self._before is None:
            mapped = mapped_bytes()
            if mapped is None:
                return
            self._before = resource.getrlimit(resource.RLIMIT_AS)
            self._base = mapped + self._memory_bytes
        soft, hard = self._before
        bound = self._base + self._step_bytes + int(BYTES_PER_SECOND * music_seconds)
        self.holds_memory = soft == resource.RLIM_INFINITY or bound < soft
        if self.holds_memory:
            resource.setrlimit(resource.RLIMIT_AS, (bound, hard))

    def lift(self) -> None:
        """End the bounds."""
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        if self._before is not None:
            resource.setrlimit(resource.RLIMIT_AS, self._before)
            self._before = None


def mapped_bytes() -> int | None:
    """Address space of this process in bytes; None if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE
    except (OSError, ValueError, IndexError):
        return None
