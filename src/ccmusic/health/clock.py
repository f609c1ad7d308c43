"""A clock that counts only the time in which this process ran.

A container, a virtual machine or a process can be stopped for a minute and then continue. On the system's clock every
age has grown by a minute then: the last sample looks old, the event loop looks blocked, every deadline has passed. So
ages and deadlines inside the service use this clock, which stands still meanwhile.

A thread looks at the system's clock 20 times a second. A longer gap between two looks has one of two reasons:

* The process was stopped, or got no processor. The gap does not count.
* A thread held the interpreter's lock, which is a hang and not a pause. The gap counts. It is told from a pause by
  the thread's own waits: a thread that waits for the lock wakes up after each switch interval (5 ms) to ask for it,
  and the kernel counts this as a voluntary context switch. A stopped thread does not wake up.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

try:
    from resource import RUSAGE_THREAD, getrusage
except ImportError:  # not Linux: there, each long gap is taken for a pause

    def _waits() -> int:
        return 0

else:

    def _waits() -> int:
        """How often the calling thread has waited for something."""
        return getrusage(RUSAGE_THREAD).ru_nvcsw


TICK_SECONDS = 0.05
GAP_SECONDS = 0.25
"""A gap between two ticks counts up to this length, whatever its reason: a busy machine delays a thread that much."""

SHORTEST_WAIT_SECONDS = 1e-6
"""A shorter rest of a wait is left out: it comes from rounding."""

T = TypeVar("T")


class RunningClock:
    """Counts the time in which this process ran. Thread-safe.

    Parameters
    ----------
    monotonic : callable
        Returns seconds on the system's monotonic clock.
    waits : callable
        Returns how often the calling thread has waited for something since its start.
    threaded : bool
        Whether the clock starts a thread that ticks, at the first reading. Otherwise its owner calls `tick`.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        waits: Callable[[], int] = _waits,
        *,
        threaded: bool = True,
    ) -> None:
        self._monotonic = monotonic
        self._waits = waits
        self._threaded = threaded
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._waits_before = 0
        # system's time, running time and stopped time as of the last tick; replaced whole, so reading needs no lock
        self._last = (monotonic(), 0.0, 0.0)

    def now(self) -> float:
        """Seconds in which this process ran, from an arbitrary beginning. Never decreases."""
        if self._threaded and (self._thread is None or not self._thread.is_alive()):  # not alive: after a fork
            self._start()
        ticked, running, _ = self._last
        # the next tick decides how much of a longer gap counts
        return running + min(max(0.0, self._monotonic() - ticked), GAP_SECONDS)

    @property
    def stopped_seconds(self) -> float:
        """Time in which this process did not run, since the first reading; as of the last tick."""
        return self._last[2]

    def wait(self, wait: Callable[[float], T], seconds: float) -> T:
        """Wait for something for at most `seconds` of running time.

        Parameters
        ----------
        wait : callable
            Waits for at most the given number of seconds; returns something false if they were not enough, such as
            `threading.Event.wait`.
        seconds : float

        Returns
        -------
        T
            What the last call returned.
        """
        deadline = self.now() + seconds
        left = max(0.0, seconds)
        while True:
            found = wait(left)
            left = deadline - self.now()
            if found or left < SHORTEST_WAIT_SECONDS:
                return found

    async def sleep(self, seconds: float) -> None:
        """`asyncio.sleep` in running time."""
        deadline = self.now() + seconds
        while (left := deadline - self.now()) > 0:  # noqa: ASYNC110  nothing is polled
            await asyncio.sleep(left)

    def tick(self) -> None:
        """Count the time since the last tick. Called by the clock's own thread, and by tests."""
        now, waits = self._monotonic(), self._waits()
        ticked, running, stopped = self._last
        gap = max(0.0, now - ticked)
        waited = (waits - self._waits_before) * sys.getswitchinterval()
        counted = min(gap, GAP_SECONDS + waited)
        self._waits_before = waits
        self._last = (now, running + counted, stopped + gap - counted)

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return
            now = self._monotonic()
            ticked, running, stopped = self._last
            self._last = (now, running + max(0.0, now - ticked), stopped)
            self._thread = threading.Thread(target=self._tick_forever, name="health-clock", daemon=True)
            with suppress(RuntimeError):  # no thread can be started now: each reading counts all time and tries again
                self._thread.start()

    def _tick_forever(self) -> None:
        self._waits_before = self._waits()
        while True:
            time.sleep(TICK_SECONDS)
            self.tick()


CLOCK = RunningClock()
"""The clock of this process."""
