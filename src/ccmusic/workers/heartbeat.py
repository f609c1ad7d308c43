"""The heartbeat of a worker: shared memory that shows that its interpreter runs, and what it is doing.

The front process reads it without asking the worker. A thread of the worker updates it ten times a second. The thread
cannot do this while the process is stopped, or while native code holds the interpreter's lock; then the heartbeat gets
old. A call that hangs without the lock does not show here. Its stage and the time in this stage do, and the deadline of
the job ends it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
import threading
import time
from typing import Literal, get_args

BEAT_SECONDS = 0.1
MAX_SECONDS = 1e9
"""Largest age that is reported."""

Stage = Literal["load", "idle", "receive", "decode", "features", "inference", "self_test", "reply"]
STAGES: tuple[Stage, ...] = get_args(Stage)

_BEAT, _STAGE_SINCE, _STAGE, _THREAD = range(4)
_SIZE = 8 * 4


class Heartbeat:
    """Four aligned 8-byte fields that one process writes and another reads; times are on the system's monotonic clock.

    Parameters
    ----------
    descriptor : int, optional
        The memory of a heartbeat that another process has created; by default a new one is created.

    Attributes
    ----------
    descriptor : int
        The file descriptor of the memory, which the other process needs.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _anonymous_file() if descriptor is None else descriptor
        self._memory = mmap.mmap(self.descriptor, _SIZE)
        self._doubles = memoryview(self._memory).cast("d")
        self._integers = memoryview(self._memory).cast("q")
        if descriptor is None:
            self.enter("load")
            self.start_clock()

    def close(self) -> None:
        """Release the shared memory."""
        self._doubles.release()
        self._integers.release()
        self._memory.close()
        os.close(self.descriptor)

    def start_clock(self) -> None:
        """Count the age from now; called by the front process when the other process exists and can beat.

        A worker that is waited for may need a minute to exist: first its fork server imports the libraries.
        """
        self._doubles[_BEAT] = time.monotonic()

    # written by the worker

    def beat(self) -> None:
        """Show that the interpreter runs; called by the heartbeat thread."""
        self._integers[_THREAD] = threading.get_native_id()
        self._doubles[_BEAT] = time.monotonic()

    def enter(self, stage: Stage) -> None:
        """Set the stage that the work loop enters now."""
        # In this order: if the process ends between the two lines, `busy_since` reports that nothing new has begun.
        self._integers[_STAGE] = STAGES.index(stage)
        self._doubles[_STAGE_SINCE] = time.monotonic()

    # read by the front process

    @property
    def beat_at(self) -> float:
        """When the last heartbeat came."""
        return self._doubles[_BEAT]

    @property
    def age_seconds(self) -> float:
        """Time since the last heartbeat, also while both processes were stopped."""
        return _seconds_since(self._doubles[_BEAT])

    @property
    def thread(self) -> int:
        """The id of the thread that beats; 0 before its first beat."""
        return self._integers[_THREAD]

    @property
    def stage(self) -> Stage:
        """The stage that the work loop is in."""
        return STAGES[self._integers[_STAGE] % len(STAGES)]  # whatever a worker that was taken over has written

    @property
    def stage_seconds(self) -> float:
        """Time since the work loop entered its stage."""
        return _seconds_since(self._doubles[_STAGE_SINCE])

    def busy_since(self, moment: float) -> bool:
        """Whether the worker has begun an order after this moment; the stage may still be that of an earlier order."""
        return self.stage != "idle" and self._doubles[_STAGE_SINCE] >= moment


def _seconds_since(moment: float) -> float:
    return min(max(0.0, time.monotonic() - moment), MAX_SECONDS)  # 0 for NaN


def _anonymous_file() -> int:
    # Memory and not a file on disk: the root may be read-only, and /dev/shm is small in many containers.
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("ccmusic-heartbeat", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, _SIZE)
        # a process that made it shorter would end its reader with SIGBUS
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    else:
        fd, name = tempfile.mkstemp()
        os.unlink(name)  # noqa: PTH108  os.ftruncate needs only the descriptor
        os.ftruncate(fd, _SIZE)
    return fd
