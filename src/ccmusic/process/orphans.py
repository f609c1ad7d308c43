"""Children that have ended and for which no code in this process waits.

Some were never started here: process 1 of a container inherits processes from others, and so does the service when it
becomes the parent of workers whose fork server has ended. Each would stay a zombie and keep its process id.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import process, resource_tracker
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 0.5
PATIENCE_SECONDS = 10.0
"""A child that has ended for this time has no owner: code that starts a process here waits for it much sooner."""

_owners: list[Callable[[], set[int]]] = []


def leave_to(owner: Callable[[], set[int]]) -> None:
    """Do not wait for the children whose ids this function returns: its caller does, however late."""
    _owners.append(owner)


class Orphans:
    """Waits for children that have ended for `patience_seconds` and that have no owner.

    Parameters
    ----------
    patience_seconds : float
    owned : callable
        Returns the ids of the children that others wait for, however late.
    """

    def __init__(self, patience_seconds: float, owned: Callable[[], set[int]]) -> None:
        self._patience = patience_seconds
        self._owned = owned
        self._ended_since: dict[int, float] = {}

    def due(self, ended: set[int], now: float) -> set[int]:
        """The children for which this process must wait.

        Parameters
        ----------
        ended : set of int
            What `ended_children` returns.
        now : float
            In seconds.
        """
        self._ended_since = {pid: self._ended_since.get(pid, now) for pid in ended - self._owned()}
        return {pid for pid, since in self._ended_since.items() if now - since >= self._patience}

    def reap(self) -> int:
        """Wait for the children that are due, without blocking; returns their number."""
        count = 0
        for pid in self.due(ended_children(), time.monotonic()):
            with suppress(ChildProcessError):
                count += os.waitpid(pid, os.WNOHANG)[0] == pid
        return count


def ended_children() -> set[int]:
    """The ids of the children of this process that have ended and that nobody has waited for."""
    try:  # one call, since the machine may have thousands of processes and rarely a zombie
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return set()
    except ChildProcessError:
        return set()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                # the name of a process may contain spaces and brackets; the state follows the last bracket
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state == "Z" and int(parent) == os.getpid():
                    found.add(int(entry.name))
    return found


def owned_by_multiprocessing() -> set[int]:
    """Children that multiprocessing waits for when it needs the next one."""
    tracker: Any = resource_tracker._resource_tracker
    children: Any = set(process._children)  # type: ignore[attr-defined]
    found = {tracker._pid, *(getattr(child._popen, "pid", None) for child in children)}
    return found - {None}


def owned() -> set[int]:
    """Children that some code in this process waits for."""
    return owned_by_multiprocessing().union(*(owner() for owner in _owners))


@contextmanager
def orphans_reaped(
    period_seconds: float = PERIOD_SECONDS, patience_seconds: float = PATIENCE_SECONDS
) -> Iterator[None]:
    """Wait for orphans while a ``with`` block lasts, on a thread of its own; only Linux gives a process any."""
    if not hasattr(os, "waitid") or not Path("/proc/self/stat").exists():
        yield
        return
    ended = threading.Event()
    orphans = Orphans(patience_seconds, owned)

    def run() -> None:
        while not ended.wait(period_seconds):
            try:
                if count := orphans.reap():
                    logger.info("%d processes have ended that had lost their parent", count)
            except Exception:  # a zombie does less harm than a service that ends
                logger.exception("orphans cannot be waited for")

    thread = threading.Thread(target=run, name="orphans", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(period_seconds)
