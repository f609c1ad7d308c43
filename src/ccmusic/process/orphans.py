"""Processes whose parent has ended, and that the system gave to this one: process 1 must wait for them.

When the fork server ends, its workers become children of process 1. In a container without an init program this is the
service, and each of them would stay a zombie, which takes an entry of the table of processes.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, process, resource_tracker
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 0.5
PATIENCE_SECONDS = 10.0
"""A child that has ended for this time has no owner: code that starts a process here waits for it much sooner."""

PR_GET_CHILD_SUBREAPER = 37


_owners: list[Callable[[], set[int]]] = []


def leave_to(owner: Callable[[], set[int]]) -> None:
    """Do not wait for the children whose ids this function returns: its caller does, however late."""
    _owners.append(owner)


class Orphans:
    """Finds children that ended and that no code waits for.

    A process that was the child of another process before is an orphan. A process that was never seen before may be one
    or may have been started here; it has `patience_seconds`.

    Parameters
    ----------
    parent : int
        The id of this process.
    patience_seconds : float
    owned : callable
        Returns the ids of the children that others wait for, however late.
    """

    def __init__(self, parent: int, patience_seconds: float, owned: Callable[[], set[int]]) -> None:
        self._parent = parent
        self._patience = patience_seconds
        self._owned = owned
        self._others: set[int] = set()
        self._ended_since: dict[int, float] = {}

    def due(self, processes: Mapping[int, tuple[int, str]], now: float) -> set[int]:
        """The children for which this process must wait.

        Parameters
        ----------
        processes : mapping
            Parent and state of each process, by process id.
        now : float
        """
        others = {pid for pid, (parent, _) in processes.items() if parent != self._parent}
        self._others = others | (self._others & processes.keys())
        ended = {pid for pid, (parent, state) in processes.items() if parent == self._parent and state == "Z"}
        self._ended_since = {pid: self._ended_since.get(pid, now) for pid in ended - self._owned()}
        return {pid for pid, since in self._ended_since.items() if pid in self._others or now - since >= self._patience}

    def reap(self) -> int:
        """Wait for the children that are due, without blocking; returns their number."""
        count = 0
        for pid in self.due(read_processes(), time.monotonic()):
            with suppress(ChildProcessError):
                count += os.waitpid(pid, os.WNOHANG)[0] == pid
        return count


def read_processes() -> dict[int, tuple[int, str]]:
    """Parent and state (such as Z) of each process, by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                found[int(entry.name)] = int(parent), state
    return found


def owned_by_multiprocessing() -> set[int]:
    """Children that multiprocessing waits for when it needs the next one."""
    server: Any = forkserver._forkserver
    tracker: Any = resource_tracker._resource_tracker
    children: Any = set(process._children)  # type: ignore[attr-defined]
    found = {server._forkserver_pid, tracker._pid, *(getattr(child._popen, "pid", None) for child in children)}
    return found - {None}


def owned() -> set[int]:
    """Children that some code in this process waits for."""
    return owned_by_multiprocessing().union(*(owner() for owner in _owners))


def adopts_orphans() -> bool:
    """Whether the system gives orphans to this process: it is process 1, or a subreaper."""
    if not sys.platform.startswith("linux"):
        return False
    if os.getpid() == 1:
        return True
    subreaper = ctypes.c_int()
    ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(subreaper))
    return subreaper.value != 0


@contextmanager
def orphans_reaped(
    period_seconds: float = PERIOD_SECONDS, patience_seconds: float = PATIENCE_SECONDS
) -> Iterator[None]:
    """Wait for orphans while a ``with`` block lasts, on a thread of its own; nothing where the system gives us none."""
    if not adopts_orphans():
        yield
        return
    ended = threading.Event()
    orphans = Orphans(os.getpid(), patience_seconds, owned)

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
