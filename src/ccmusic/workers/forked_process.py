"""A process that the fork server has forked, and how it ended."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path

from ccmusic.health.clock import CLOCK
from ccmusic.workers.fork_server_process import EXIT_CODE

UNKNOWN_EXIT = 255
"""Stands for an exit code that is not known."""
POLL_SECONDS = 0.02
GRACE_SECONDS = 0.2
"""Time for the fork server to report the end of a process that has ended."""


class ForkedProcess:
    """A child of the fork server, or of this process if its fork server has ended.

    Parameters
    ----------
    pid : int
    exit_pipe : int
        The fork server writes the exit code to it.
    on_closed : callable
        Called with the process id, and with whether its parent has waited for the process.
    """

    def __init__(self, pid: int, exit_pipe: int, on_closed: Callable[[int, bool], object]) -> None:
        self.pid = pid
        self._exit_pipe = exit_pipe
        self._on_closed = on_closed
        self._code: int | None = None
        self._reaped = False
        self._orphaned = False

    def exit_code(self, timeout_seconds: float) -> int | None:
        """The exit code, negative for a signal; None if the process has not ended within the timeout.

        If the fork server stands still, it is read from the process itself. `UNKNOWN_EXIT` if that is impossible.
        """
        deadline = CLOCK.now() + timeout_seconds
        ended_at = math.inf
        while self._code is None:
            left = max(0.0, deadline - CLOCK.now())
            if self._orphaned:
                self._look_at_orphan()
                time.sleep(min(POLL_SECONDS, left) if self._code is None else 0.0)
            elif wait([self._exit_pipe], min(POLL_SECONDS, left)):
                self._read_pipe()
            elif (code := exit_code_of_zombie(self.pid)) is not None:  # its fork server may stand still
                ended_at = min(ended_at, CLOCK.now())
                if CLOCK.now() - ended_at > GRACE_SECONDS:
                    self._code = code
            if left == 0.0:
                break
        return self._code

    def _read_pipe(self) -> None:
        data = os.read(self._exit_pipe, EXIT_CODE.size)
        if data:
            (self._code,) = EXIT_CODE.unpack(data)
            self._reaped = True
        else:
            self._orphaned = True  # its fork server has ended

    def _look_at_orphan(self) -> None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            # another process has become its parent, and has waited for it or will
            code = exit_code_of_zombie(self.pid)
            if code is not None or not _exists(self.pid):
                self._code = UNKNOWN_EXIT if code is None else code
            return
        if pid:
            self._code = os.waitstatus_to_exitcode(status)
            self._reaped = True

    def close(self) -> None:
        """Release the pipe. The process must have ended, or have been killed."""
        os.close(self._exit_pipe)
        self._on_closed(self.pid, self._reaped)


def exit_code_of_zombie(pid: int) -> int | None:
    """The exit code of a process that has ended and that nobody has waited for; None if there is no such process."""
    with suppress(OSError, IndexError, ValueError):
        # the name of a process may contain spaces and brackets; the state follows the last bracket
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] in "ZX":
            return os.waitstatus_to_exitcode(int(fields[49]))
    return None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
