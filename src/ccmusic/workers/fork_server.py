"""The fork server as the front process sees it: started, watched, and replaced when it ends or stands still.

The workers do not depend on it: they live on while it is replaced, and this process reaps them if it could not.
"""

from __future__ import annotations

import atexit
import ctypes
import itertools
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import wait

from ccmusic.health.clock import CLOCK
from ccmusic.health.waits import OWN_WAITS
from ccmusic.process.limits import why_not_started
from ccmusic.process.orphans import leave_to
from ccmusic.settings import Settings
from ccmusic.workers.fork_server_process import ANSWER, REQUEST
from ccmusic.workers.forked_process import ForkedProcess
from ccmusic.workers.records import HelperState
from ccmusic.workers.watched_fork_server import WatchedForkServer

logger = logging.getLogger(__name__)

PRELOADED = ["ccmusic.workers.preload"]
"""Modules that the fork server imports before it forks."""
TURN_SECONDS = 0.1
FIRST_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 5.0
"""Pauses between starts that fail; each is twice as long as the one before."""
LONG_RUN_SECONDS = 10.0
"""A server that was ready for this time is replaced at once."""
STOP_SECONDS = 5.0
REFUSAL_SECONDS = 10.0
"""A slot tries again sooner; a refusal that is older belongs to a slot that is gone."""
MANY_FAILURES = 3
"""After so many failed starts in a row, another one does not count as a replacement."""
PR_SET_CHILD_SUBREAPER = 36


class NotStarted(OSError):
    """No worker process can be started; the text says why."""


class ForkServerLost(NotStarted):
    """The fork server ended or stood still during the request. Another one is started; try again."""


class ForkServer:
    """Starts worker processes; one thread keeps the fork server running.

    Parameters
    ----------
    heartbeat_seconds, start_seconds : float
        The settings ``heartbeat_seconds`` and ``load_timeout_seconds``.
    modules : sequence of str
        What the server imports before it forks.

    Attributes
    ----------
    on_event : callable
        Called after an event that health must report at once.
    """

    def __init__(
        self, heartbeat_seconds: float = 1.0, start_seconds: float = 120.0, modules: Sequence[str] = PRELOADED
    ) -> None:
        self.heartbeat_seconds = heartbeat_seconds
        self.start_seconds = start_seconds
        self.on_event: Callable[[], None] = lambda: None
        self._modules = modules
        self._forking = threading.Lock()  # one request at a time
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._server: WatchedForkServer | None = None
        self._failure: str | None = None
        self._failed_starts = 0
        self._pause = 0.0
        self._next_start = 0.0
        self._lost: tuple[str, float] | None = None
        self._refused: tuple[str, float, float] | None = None
        self._replaced: list[WatchedForkServer] = []
        self._forked: set[int] = set()
        self._unreaped: set[int] = set()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._turned_at = CLOCK.now()

    # for the slots

    def fork(self, descriptors: Sequence[int], give_up: Callable[[], bool]) -> ForkedProcess:
        """Start a worker process; waits while the server is starting.

        Parameters
        ----------
        descriptors : sequence of int
            Those of `worker.run`. The caller closes its own.
        give_up : callable
            Asked several times a second; the wait ends with `NotStarted` when it returns True.

        Raises
        ------
        NotStarted
            No process can be started now.
        """
        self.start()
        while not self._forking.acquire(timeout=TURN_SECONDS):
            if give_up():
                raise NotStarted("the service is stopping")
        try:
            return self._fork(self._ready_server(give_up), descriptors, give_up)
        finally:
            self._forking.release()

    def _ready_server(self, give_up: Callable[[], bool]) -> WatchedForkServer:
        with self._changed:
            while True:
                server = self._server
                if server is not None and server.ready_at is not None and not server.ended:
                    return server
                if self._failure is not None:
                    raise NotStarted(self._failure)
                if give_up():
                    raise NotStarted("the service is stopping")
                self._changed.wait(TURN_SECONDS)

    def _fork(
        self, server: WatchedForkServer, descriptors: Sequence[int], give_up: Callable[[], bool]
    ) -> ForkedProcess:
        number = next(self._numbers)
        exit_code, theirs = os.pipe()
        try:
            try:
                socket.send_fds(server.control, [REQUEST.pack(number)], [*descriptors, theirs])
            finally:
                os.close(theirs)
            pid, error = self._answer(server, number, give_up)
            if pid == 0:
                cause, now = why_not_started(error), CLOCK.now()
                self._refused = (cause, self._refused[1] if self._refused else now, now)
                raise NotStarted(cause)
        except OSError as failure:
            os.close(exit_code)
            if isinstance(failure, NotStarted):
                raise
            raise ForkServerLost("the fork server ended; another one is started") from failure
        self._refused = None
        self._forked.add(pid)
        return ForkedProcess(pid, exit_code, self._note_closed)

    @staticmethod
    def _answer(server: WatchedForkServer, number: int, give_up: Callable[[], bool]) -> tuple[int, int]:
        """Process id and error number of a request. The watching thread ends a server that does not answer."""
        while True:
            if wait([server.control], TURN_SECONDS):
                data = server.control.recv(ANSWER.size)
                if not data:
                    raise ForkServerLost("the fork server ended; another one is started")
                answered, pid, error = ANSWER.unpack(data)
                if answered == number:  # and not of a request that was given up
                    return pid, error
            elif give_up():
                raise NotStarted("the service is stopping")

    def _note_closed(self, pid: int, is_reaped: bool) -> None:
        if not is_reaped:
            self._unreaped.add(pid)
        self._forked.discard(pid)

    def owned(self) -> set[int]:
        """Processes for which this object waits when they end: the fork server and its workers."""
        servers = {server.pid for server in (self._server, *self._replaced) if server is not None}
        return servers | self._forked | self._unreaped

    # for health

    def state(self) -> HelperState:
        """Whether it can start processes, and if not, since when and why."""
        now = CLOCK.now()
        idle = OWN_WAITS.without(self._thread, now - self._turned_at)
        with self._changed:
            lost, refused = self._lost, self._refused
            starts = self._failed_starts < MANY_FAILURES
        if lost is not None:
            return HelperState("fork server", lost[0], now - lost[1], replacing=starts, turn_age_seconds=idle)
        if refused is not None and now - refused[2] < REFUSAL_SECONDS:
            return HelperState("fork server", refused[0], now - refused[1], replacing=False, turn_age_seconds=idle)
        return HelperState("fork server", turn_age_seconds=idle)

    # the watching thread

    def start(self) -> None:
        """Start the watching thread, unless it runs; also if it has ended."""
        with self._changed:
            if self._stopping.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            thread = threading.Thread(target=self._watch, name="ccmusic-fork-server", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise NotStarted(f"no thread can be started to watch the fork server: {error}") from error
            self._thread = thread

    def stop(self) -> None:
        """End the fork server. Its workers live on until their pipes are closed."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
        if self._server is not None:
            self._server.end()
            self._replaced.append(self._server)
            self._server = None
        for server in self._replaced:
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(STOP_SECONDS)
        self._close_replaced()

    def _watch(self) -> None:
        _adopt_orphans()
        while not self._stopping.is_set():
            now = self._turned_at = CLOCK.now()
            try:
                self._turn(now)
            except Exception:  # the thread must continue
                logger.exception("watching the fork server failed")
            self._stopping.wait(TURN_SECONDS)

    def _turn(self, now: float) -> None:
        server = self._server
        if server is None:
            if now >= self._next_start:
                self._start_server()
        else:
            was_ready = server.ready_at is not None
            cause = server.what_is_wrong(now, self.heartbeat_seconds, self.start_seconds)
            if cause is not None:
                self._lose(server, cause, now)
            elif server.ready_at is not None and not was_ready:
                self._note_ready()
        self._close_replaced()
        self._reap()

    def _start_server(self) -> None:
        try:
            server = WatchedForkServer(self._modules)
        except OSError as error:
            self._fail(why_not_started(error.errno or 0))
            return
        with self._changed:
            self._server = server
            self._changed.notify_all()

    def _note_ready(self) -> None:
        with self._changed:
            self._failure = self._lost = None
            self._failed_starts = 0
            self._changed.notify_all()
        self.on_event()

    def _lose(self, server: WatchedForkServer, cause: str, now: float) -> None:
        """End a server that must be replaced."""
        server.end()
        self._replaced.append(server)
        text = f"the fork server {cause}"
        if server.ready_at is None:
            self._fail(text)
            return
        logger.error("%s; starting another one", text)
        with self._changed:
            self._server = None
            self._lost = (text, now)
            if now - server.ready_at > LONG_RUN_SECONDS:
                self._pause = 0.0
            self._next_start = now + self._pause
            self._pause = min(max(FIRST_PAUSE_SECONDS, 2 * self._pause), MAX_PAUSE_SECONDS)
            self._changed.notify_all()
        self.on_event()

    def _fail(self, cause: str) -> None:
        """Record that no server could be started."""
        now = CLOCK.now()
        with self._changed:
            self._server = None
            self._failure = cause
            self._failed_starts += 1
            self._lost = (cause, self._lost[1] if self._lost else now)
            self._pause = min(max(FIRST_PAUSE_SECONDS, 2 * self._pause), MAX_PAUSE_SECONDS)
            self._next_start = now + self._pause
            self._changed.notify_all()
        logger.error("%s; next try in %.1f s", cause, self._pause)
        self.on_event()

    def _close_replaced(self) -> None:
        ended = [server for server in self._replaced if server.process.poll() is not None]
        if ended and self._forking.acquire(blocking=False):  # else a request still reads from its socket
            try:
                for server in ended:
                    self._replaced.remove(server)
                    server.close()
            finally:
                self._forking.release()

    def _reap(self) -> None:
        """Wait for ended workers whose fork server could not."""
        for pid in list(self._unreaped):
            try:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    self._unreaped.discard(pid)
            except ChildProcessError:
                if not os.path.exists(f"/proc/{pid}"):  # noqa: PTH110  a file for each process, and no path of ours
                    self._unreaped.discard(pid)


def _adopt_orphans() -> None:
    """Become the parent of the workers when their fork server ends, so that their exit codes are known."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


_shared: ForkServer | None = None
_sharing = threading.Lock()


def shared_fork_server(settings: Settings) -> ForkServer:
    """The one fork server of this process, with the limits of these settings. It ends with the process."""
    global _shared  # noqa: PLW0603  one for each process, as the libraries in it are the same for all services
    with _sharing:
        if _shared is None:
            _shared = ForkServer()
            atexit.register(_shared.stop)
            leave_to(_shared.owned)
        _shared.heartbeat_seconds = settings.heartbeat_seconds
        _shared.start_seconds = settings.load_timeout_seconds
        return _shared
