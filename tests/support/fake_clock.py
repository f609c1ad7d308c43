"""A clock of a process that runs, is stopped and hangs as a test wants."""

from __future__ import annotations

import sys

from ccmusic.health.clock import TICK_SECONDS, RunningClock


class FakeProcess:
    """A process whose time a test moves.

    Attributes
    ----------
    system : float
        The time on the system's monotonic clock.
    clock : RunningClock
        Replaces `CLOCK` in the module under test.
    """

    def __init__(self) -> None:
        self.system = 1000.0
        self._waits = 0
        self.clock = RunningClock(lambda: self.system, lambda: self._waits, threaded=False)

    def run(self, seconds: float) -> None:
        """The process runs: the clock ticks as often as it should."""
        end = self.system + seconds
        while self.system < end:
            self.system = min(end, self.system + TICK_SECONDS)
            self._waits += 1
            self.clock.tick()

    def stop(self, seconds: float, *, tick: bool = True) -> None:
        """The whole process is stopped and continued; without the tick, another thread runs before the clock's."""
        self.system += seconds
        self._waits += 2
        if tick:
            self.clock.tick()

    def hold_lock(self, seconds: float) -> None:
        """A thread holds the interpreter's lock, and the clock's thread waits for it."""
        self.system += seconds
        self._waits += int(seconds / sys.getswitchinterval())
        self.clock.tick()
