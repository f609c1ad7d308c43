"""What the operating system knows about a process: its memory, its start, and whether it is stuck or only slow."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ccmusic.health.waits import ThreadTimes, WaitedTime

logger = logging.getLogger(__name__)

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def rss_bytes(pid: int | Literal["self"]) -> int | None:
    """Resident memory in bytes; None if the system does not report it."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return None


def own_bytes(pid: int) -> int | None:
    """Memory that a process keeps, in bytes: without pages of files, with what was moved to swap; None if unknown.

    The kernel takes pages of files back and brings them back when they are used, so resident memory falls and rises
    without any work of the process.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        kib = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
        return 1024 * sum(int(kib[name][0]) for name in ("RssAnon", "RssShmem", "VmSwap"))
    except (OSError, KeyError, IndexError, ValueError):
        return rss_bytes(pid)  # an older kernel, or another system


class StoppedTime:
    """How long a process has been stopped (SIGSTOP), for one that has no heartbeat yet."""

    def __init__(self) -> None:
        self._read_at: float | None = None
        self.seconds = 0.0

    def read(self, now: float, threads: dict[str, ThreadTimes]) -> float:
        """Take a reading, and return the seconds so far; 0 if the process is not stopped.

        Parameters
        ----------
        now : float
            The time of the reading, in seconds on the clock of this process.
        threads : dict of str to ThreadTimes
            What `thread_times` returns.
        """
        passed = 0.0 if self._read_at is None else now - self._read_at
        self._read_at = now
        is_stopped = bool(threads) and all(times.state in "Tt" for times in threads.values())
        self.seconds = self.seconds + passed if is_stopped else 0.0
        return self.seconds


SUSPICION_SHARE = 0.3
"""Share of the allowed age after which `Silence` looks whether the process gets a processor at all."""
LOOKED_SHARE = 0.6
"""Share of the allowed age by which a supervisor that gets a processor has looked."""


class Silence:
    """Decides whether a process whose heartbeat is old is stuck, or only slow because the machine is."""

    def __init__(self) -> None:
        self._waited: WaitedTime | None = None
        self._unseen = 0.0

    def seconds(
        self, now: float, age: float, allowed: float, thread: int, read: Callable[[], dict[str, ThreadTimes]]
    ) -> float | None:
        """How long the process has not beaten although it could; None if it is not too long.

        Parameters
        ----------
        now : float
            The present time, in seconds.
        age, allowed : float
            Age of the last heartbeat, and the longest age without a reason, in seconds.
        thread : int
            The thread that beats.
        read : callable
            Reads `thread_times` of the process; called only when the heartbeat is suspiciously old.
        """
        if age < SUSPICION_SHARE * allowed:
            self._waited = None
            return None
        if self._waited is None:
            self._waited = WaitedTime()
            # Nobody looked how the process spent this time, because the one who looks had no processor either.
            self._unseen = max(0.0, age - LOOKED_SHARE * allowed)
        self._waited.read(now, read())
        silent = age - self._unseen - self._waited.explains(str(thread))
        return silent if silent > allowed else None


def started_at(pid: int) -> str | None:
    """When a process started, in ticks of the kernel; None if the system does not report it."""
    try:
        # the name of a process may contain spaces and brackets; the fields follow the last bracket
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _open_pidfd(pid: int) -> int:
    """A pidfd; -1 if the system has none, or has no descriptor left."""
    try:
        return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
    except OSError:
        return -1


def lower_priority(niceness: int) -> None:
    """Raise the niceness of this process. Without it the service only answers its probes more slowly under load."""
    try:
        os.nice(niceness)
    except OSError as error:  # some seccomp profiles refuse it
        logger.warning("the priority of a process cannot be lowered: %s", error.strerror)


class ProcessHandle:
    """Sends signals to one process and never to another.

    After a process has ended, the system may give its id to a new process. A pidfd stays with the old one. Kernels
    before 5.3, gVisor and some seccomp profiles have no pidfd: there the start time tells the two processes apart.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = _open_pidfd(pid)
        self._started_at = started_at(pid)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if the process has ended."""
        with suppress(ProcessLookupError):
            if self._fd >= 0:
                try:
                    signal.pidfd_send_signal(self._fd, number)
                except ProcessLookupError:
                    raise
                except OSError:  # a seccomp profile that allows only one of the two calls
                    self.close()
                else:
                    return
            if started_at(self.pid) == self._started_at:
                os.kill(self.pid, number)

    def close(self) -> None:
        """Release the pidfd."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
