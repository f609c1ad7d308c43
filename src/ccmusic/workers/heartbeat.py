"""A worker's pulse in shared memory: that its interpreter runs, and what it is doing, readable without asking it.

A thread of the worker beats ten times a second. It cannot beat while the process is stopped or while native code holds
the interpreter's lock; both show as age. A call that hangs with the lock free does not show here: its stage and the
time since it was entered do, and the job's deadline ends it.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import time
from multiprocessing.reduction import DupFd
from typing import Any, Literal, get_args

BEAT_SECONDS = 0.1

Stage = Literal["load", "idle", "receive", "decode", "features", "inference", "self_test", "reply"]
STAGES: tuple[Stage, ...] = get_args(Stage)

_BEAT, _STAGE_SINCE, _STAGE, _THREAD = range(4)
_SIZE = 8 * 4


class Heartbeat:
    """Four aligned 8-byte fields that one process writes and another reads; times are on the system's monotonic clock.

    Made in the front process and handed to the worker at its start.
    """

    def __init__(self) -> None:
        self._fd = _anonymous_file()
        self._map()
        self.enter("load")
        self._doubles[_BEAT] = time.monotonic()

    def _map(self) -> None:
        self._memory = mmap.mmap(self._fd, _SIZE)
        self._doubles = memoryview(self._memory).cast("d")
        self._integers = memoryview(self._memory).cast("q")

    def __getstate__(self) -> Any:
        return DupFd(self._fd)

    def __setstate__(self, duplicate: Any) -> None:
        self._fd = duplicate.detach()
        self._map()

    def close(self) -> None:
        """Let go of the memory."""
        self._doubles.release()
        self._integers.release()
        self._memory.close()
        os.close(self._fd)

    # written by the worker

    def beat(self) -> None:
        """Say that the interpreter runs; called by the beating thread."""
        self._integers[_THREAD] = threading.get_native_id()
        self._doubles[_BEAT] = time.monotonic()

    def enter(self, stage: Stage) -> None:
        """Say what the work loop is doing from now on."""
        # In this order: a process that ends between the two has begun nothing new, for `busy_since`.
        self._integers[_STAGE] = STAGES.index(stage)
        self._doubles[_STAGE_SINCE] = time.monotonic()

    # read by the front process

    @property
    def age_seconds(self) -> float:
        """Since the last beat."""
        return max(0.0, time.monotonic() - self._doubles[_BEAT])

    @property
    def stage(self) -> Stage:
        """What the work loop is doing."""
        return STAGES[self._integers[_STAGE]]

    @property
    def stage_seconds(self) -> float:
        """Since it began doing that."""
        return max(0.0, time.monotonic() - self._doubles[_STAGE_SINCE])

    def busy_since(self, moment: float) -> bool:
        """Whether it took something up after this moment: the stage of the order before may still stand there."""
        return self.stage != "idle" and self._doubles[_STAGE_SINCE] >= moment


def _anonymous_file() -> int:
    # Memory and not a file on disk: the root may be read-only, and /dev/shm as small as a container makes it.
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("ccmusic-pulse", os.MFD_CLOEXEC)
    else:
        fd, name = tempfile.mkstemp()
        os.unlink(name)  # noqa: PTH108  of a descriptor's name
    os.ftruncate(fd, _SIZE)
    return fd
