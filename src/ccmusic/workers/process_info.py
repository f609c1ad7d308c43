"""What the operating system knows about a process: its memory, and whether its threads wait for a processor."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Literal

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


def run_delays(pid: int) -> dict[str, float]:
    """Seconds that each thread has waited for a processor, by thread id; empty if the system does not report it."""
    delays = {}
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError, IndexError, ValueError):
                delays[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
    return delays


def longest_delay(before: dict[str, float], now: dict[str, float]) -> float:
    """How long any one thread waited for a processor between two readings of `run_delays`, at most, in seconds."""
    return max((now[thread] - before.get(thread, now[thread]) for thread in now), default=0.0)


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
