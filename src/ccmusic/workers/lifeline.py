"""A pipe that ends a process together with the process that started it, whatever it is doing.

Only the starting process holds the writing end and never writes. When it ends, in whatever way, the kernel closes this
end and sends SIGKILL to the process with the reading end. So a process ends too that is stopped, or whose native code
keeps the interpreter's lock. Unlike the parent-death signal, this does not depend on which process forked it.
"""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress
from multiprocessing.connection import wait


def end_with(lifeline: int) -> None:
    """Make the kernel end this process when the other end of the pipe is closed. Does nothing where it cannot.

    Parameters
    ----------
    lifeline : int
        The reading end of a pipe that no other process reads.
    """
    if not hasattr(fcntl, "F_SETSIG"):
        return  # the process must also look at the pipe itself
    with suppress(OSError):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if has_ended(lifeline):
        os._exit(1)  # it was closed before


def has_ended(lifeline: int, timeout_seconds: float = 0.0) -> bool:
    """Whether the other end is closed, or is closed within the timeout."""
    return bool(wait([lifeline], timeout_seconds))
