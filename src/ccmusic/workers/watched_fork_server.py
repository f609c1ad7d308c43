"""One process of the fork server as the front process sees it: its start, whether it is well, its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait

from ccmusic.health.clock import CLOCK
from ccmusic.health.waits import WaitedTime, thread_times
from ccmusic.process.child_environment import child_environment
from ccmusic.workers.fork_server_process import ANSWER
from ccmusic.workers.heartbeat import Heartbeat
from ccmusic.workers.heartbeat_age import HeartbeatAge
from ccmusic.workers.process_info import Silence, StoppedTime

ALLOWANCE = 2.0
"""Factor of the allowed heartbeat age: a fork of a large process takes a moment."""

_PROGRAM = """import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.path[:] = {path!r}
from ccmusic.workers.fork_server_process import main
main({control}, {lifeline}, {heartbeat}, {modules!r})
"""


class WatchedForkServer:
    """One process.

    Parameters
    ----------
    modules : sequence of str
        What it imports before it forks.

    Attributes
    ----------
    process : Popen
    control : socket
        Takes requests and gives answers; see `fork_server_process`.
    ready_at : float or None
        When it was ready, on the clock of this process.
    ended : bool
        Whether `end` was called.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._heartbeat = Heartbeat()
        self.control, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        program = _PROGRAM.format(
            path=sys.path,
            control=theirs.fileno(),
            lifeline=lifeline,
            heartbeat=self._heartbeat.descriptor,
            modules=list(modules),
        )
        try:
            self.process = subprocess.Popen(  # noqa: S603  this interpreter, and a module of this package
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lifeline, self._heartbeat.descriptor),
                # NumPy's matrix library reads this when it is loaded. Its threads spin for tens of milliseconds after
                # each product, on the same cores that the network needs next.
                env=child_environment(OPENBLAS_NUM_THREADS="1"),
            )
        except BaseException:
            os.close(self._lifeline)
            self.control.close()
            self._heartbeat.close()
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        self.ready_at: float | None = None
        self.ended = False
        self._started_at = CLOCK.now()
        self._age = HeartbeatAge()
        self._silence = Silence()
        self._waited = WaitedTime()
        self._stopped = StoppedTime()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def what_is_wrong(self, now: float, heartbeat_seconds: float, start_seconds: float) -> str | None:
        """Why it must be replaced; None if it is well, or starting. Notices that it is ready.

        Parameters
        ----------
        now : float
            Seconds on the clock of this process.
        heartbeat_seconds, start_seconds : float
            See `ForkServer`.
        """
        code = self.process.poll()
        if code is not None:
            how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            return how if self.ready_at is not None else f"{how} while it started"
        allowed = ALLOWANCE * heartbeat_seconds
        if self.ready_at is None:
            return self._what_is_wrong_at_start(now, allowed, start_seconds)
        age = self._age.seconds(self._heartbeat)
        silent = self._silence.seconds(now, age, allowed, self.pid, lambda: thread_times(self.pid))
        return None if silent is None else f"gave no sign of life for {silent:.1f} seconds"

    def _what_is_wrong_at_start(self, now: float, allowed: float, start_seconds: float) -> str | None:
        if wait([self.control], 0):
            with suppress(OSError):
                if self.control.recv(ANSWER.size):
                    self.ready_at = now
            return None
        times = thread_times(self.pid)
        if (stopped := self._stopped.read(now, times)) > allowed:
            return f"was stopped for {stopped:.1f} seconds while it started"
        self._waited.read(now, times)
        if now - self._started_at - self._waited.of(str(self.pid)) > start_seconds:
            return f"did not start within {start_seconds:g} seconds"
        return None

    def end(self) -> None:
        """Kill the process, and wake who waits for an answer. `close` must follow."""
        self.ended = True
        self.process.kill()
        with suppress(OSError):
            self.control.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release everything that belongs to the process."""
        os.close(self._lifeline)
        self.control.close()
        self._heartbeat.close()
