"""How long threads waited for a processor, so that a slow machine is not taken for a fault.

A service may get very little processor time: a Kubernetes pod without a CPU request weighs 2 beside the 1024 of a pod
that requests one processor. Each of its threads then waits for seconds between two steps. Who judges a thread by the
age of its last step leaves out the time for which it waited: with `OWN_WAITS` for a thread of this process.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ccmusic.health.clock import CLOCK

SPACING_SECONDS = 0.25
"""A reading of 31 threads takes a millisecond, so none is taken sooner than this after another, but to judge."""
SUSPICIOUS_SECONDS = 1.0
"""A younger step of a thread is not looked into: each thread that lives takes one more often."""
N_READINGS = 240
"""So many are kept: at least a minute."""
NOTHING: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class ThreadTimes:
    """What the system knows about one thread.

    Attributes
    ----------
    ran : float
        Seconds on a processor.
    waited : float
        Seconds in which it waited for a processor. The kernel adds a wait when it ends.
    state : str
        The letter of ``/proc/PID/stat``: R runs or waits for a processor, D waits for the disk, S sleeps, T is stopped.
    """

    ran: float
    waited: float
    state: str


def thread_times(pid: int) -> dict[str, ThreadTimes]:
    """The times of each thread of a process, by thread id; empty if the system does not report them."""
    times = {}
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError, IndexError, ValueError):
                ran, waited = (task / "schedstat").read_text().split()[:2]
                # the name of a thread may contain spaces and brackets; the state follows the last bracket
                state = (task / "stat").read_text().rpartition(")")[2].split()[0]
                times[task.name] = ThreadTimes(int(ran) / 1e9, int(waited) / 1e9, state)
    return times


class WaitedTime:
    """How long the threads of a process have waited for a processor or for the disk since the first reading.

    A slow machine makes a process slow in this way only. A process that is stopped, that waits for a lock or that
    computes does not wait in this sense.

    Attributes
    ----------
    ended : dict of str to float
        Seconds of the waits that have ended, by thread id.
    """

    def __init__(self) -> None:
        self._read_at = 0.0
        self._last: dict[str, ThreadTimes] = {}
        self.ended: dict[str, float] = {}
        self._present: dict[str, float] = {}

    def read(self, now: float, threads: dict[str, ThreadTimes]) -> None:
        """Take a reading.

        Parameters
        ----------
        now : float
            The time of the reading, in seconds on the clock of this process.
        threads : dict of str to ThreadTimes
            What `thread_times` returns.
        """
        passed, self._read_at = now - self._read_at, now
        reader = str(threading.get_native_id())  # it runs now
        for thread, times in threads.items():
            before = self._last.get(thread)
            if before is None:
                continue
            ran, waited = max(0.0, times.ran - before.ran), max(0.0, times.waited - before.waited)
            present, rest = self._present.pop(thread, 0.0), max(0.0, passed - ran - waited)
            self.ended[thread] = self.ended.get(thread, 0.0) + waited
            if times.state == "R" and thread != reader:
                # It neither ran nor slept in the rest, or it has slept and has just woken: the next reading tells.
                self._present[thread] = rest if ran > 0 or waited > 0 else present + rest
            elif times.state == before.state == "D" and not ran and not waited:
                self.ended[thread] += passed
        self.ended = {thread: self.ended.get(thread, 0.0) for thread in threads}
        self._last = threads

    def of(self, thread: str, before: Mapping[str, float] = NOTHING) -> float:
        """Seconds that this thread has waited since its waits were those of `before`, an earlier copy of `ended`."""
        return self.ended.get(thread, 0.0) + self._present.get(thread, 0.0) - before.get(thread, 0.0)

    def explains(self, thread: str, before: Mapping[str, float] = NOTHING) -> float:
        """Seconds for which this thread could do nothing, at most.

        It waited itself, or it waited for the interpreter's lock while the thread that had the lock waited.
        """
        others = [self.of(other, before) for other in self._last if other != thread]
        return self.of(thread, before) + max(others, default=0.0)


class RecentWaits:
    """How much of the last seconds the threads of a process waited. Thread-safe.

    Parameters
    ----------
    read : callable
        Reads `thread_times` of the process.
    now : callable
        Returns seconds on the clock of this process.
    """

    def __init__(self, read: Callable[[], dict[str, ThreadTimes]], now: Callable[[], float] = CLOCK.now) -> None:
        self._read = read
        self._now = now
        self._lock = threading.Lock()
        self._waited = WaitedTime()
        self._past: deque[tuple[float, dict[str, float]]] = deque(maxlen=N_READINGS)

    def note(self) -> None:
        """Take a reading unless the last is recent. The sampler does this: what was before the first one is unknown."""
        with self._lock:
            now = self._now()
            if not self._past or now - self._past[-1][0] >= SPACING_SECONDS:
                self._waited.read(now, self._read())
                self._past.append((now, dict(self._waited.ended)))

    def seconds(self, thread: int | None, last: float) -> float:
        """How much of the last `last` seconds this thread could do nothing, at most: see `WaitedTime.explains`.

        Parameters
        ----------
        thread : int or None
            The system's id of the thread; None counts as a thread that never waited.
        last : float
            Seconds up to now.
        """
        self.note()
        with self._lock:
            now = self._now()
            since = now - last
            self._waited.read(now, self._read())
            before = next((ended for at, ended in reversed(self._past) if at <= since), self._past[0][1])
            return min(last, max(0.0, self._waited.explains(str(thread), before)))

    def without(self, thread: threading.Thread | None, age: float, allowed: float = SUSPICIOUS_SECONDS) -> float:
        """The age of a thread's last step, in seconds; one above what is allowed is told without the waits."""
        return age if age <= allowed else age - self.seconds(None if thread is None else thread.native_id, age)


OWN_WAITS = RecentWaits(lambda: thread_times(os.getpid()))
"""The waits of the threads of this process."""
