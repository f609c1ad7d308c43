"""One worker process, from its start to its end, as the front process sees it."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from multiprocessing.connection import wait

from ccmusic.audio.kernel_bounds import BOUND_SIGNAL
from ccmusic.health.clock import CLOCK
from ccmusic.health.waits import WaitedTime, thread_times
from ccmusic.process.limits import no_memory, oom_kills
from ccmusic.workers import worker
from ccmusic.workers.answer_check import MalformedMessage
from ccmusic.workers.channel import LOADED, REPLIES, Order, Reply, WorkerOptions
from ccmusic.workers.fork_server import ForkServer
from ccmusic.workers.forked_process import UNKNOWN_EXIT, ForkedProcess
from ccmusic.workers.heartbeat import Heartbeat
from ccmusic.workers.heartbeat_age import HeartbeatAge
from ccmusic.workers.message_stream import stream_pair
from ccmusic.workers.process_info import (
    ProcessHandle,
    Silence,
    StoppedTime,
    own_bytes,
    rss_bytes,
)
from ccmusic.workers.records import RestartReason

logger = logging.getLogger(__name__)

LOADING_ALLOWANCE = 10.0
"""Factor of the allowed heartbeat age while libraries and network are loaded."""
TURN_SECONDS = 0.5
"""Period in which it is read how long a worker waited for a processor, while its reply is awaited."""
DUMP_SECONDS = 1.0
"""Time that a stuck worker has to begin its stack dump, and again to end it. It takes milliseconds of a processor."""
DUMP_PAUSE_SECONDS = 0.1
"""A stack dump has ended when no more of it comes for this time: so long a worker may wait for a processor."""

OPTIONS_SECONDS = 1.0
"""Longest time to send the first message, which is smaller than the buffer of the connection."""
MAX_DUMP_BYTES = 256 * 1024
"""Most of a stack dump that is kept: the worker writes it, and may write without end."""
FAILURE_SECONDS = 5.0
"""Longest wait for another thread that is just marking the process failed."""

Launch = Callable[[Sequence[int]], ForkedProcess]
"""Starts a process with the descriptors of `worker.run`."""


class WorkerProcess:
    """A worker process and everything that it shares with the front process.

    Parameters
    ----------
    launch : callable
        Starts the process; see `ForkServer.fork`.
    options : WorkerOptions
    on_failed : callable
        Called with reason and cause when the process is marked failed, before anything that takes time.

    Attributes
    ----------
    pid : int
    heartbeat : Heartbeat
    connection : MessageStream
        Readable when a reply is there or the process has ended.
    failure : (RestartReason, str) or None
        Reason and cause, once the process is marked failed.
    lost : bool
        Whether the process has ended by itself.
    end_noted : bool
        Whether the slot has recorded that.
    dump : str or None
        The stack of each thread, taken when the process was marked failed or crashed.
    loading : bool
        Whether the model is still being loaded.
    """

    def __init__(self, launch: Launch, options: WorkerOptions, on_failed: Callable[[RestartReason, str], None]) -> None:
        self._on_failed = on_failed
        self._lock = threading.Lock()
        self._closed = False
        self._heartbeat_age = HeartbeatAge()
        self._silence = Silence()
        self._stopped = StoppedTime()
        self._oom_kills = oom_kills()
        self._failure_handled = threading.Event()
        self.failure: tuple[RestartReason, str] | None = None
        self.lost = False
        self.end_noted = False
        self.dump: str | None = None
        self.loading = True
        with ExitStack() as ours, ExitStack() as theirs:
            self.heartbeat = ours.enter_context(closing(Heartbeat()))
            self.connection, worker_end = (ours.enter_context(closing(end)) for end in stream_pair())
            self._dump, dump_end = map(ours.enter_context, multiprocessing.Pipe(duplex=False))
            lifeline, self._lifeline = map(ours.enter_context, multiprocessing.Pipe(duplex=False))
            for end in (worker_end, dump_end, lifeline):
                theirs.callback(end.close)  # so that the pipes read as ended when the worker ends
            self._process = launch(
                [worker_end.fileno(), self.heartbeat.descriptor, dump_end.fileno(), lifeline.fileno()]
            )
            ours.pop_all()  # they stay open until `close`
        self.heartbeat.start_clock()
        self.pid: int = self._process.pid
        self._handle = ProcessHandle(self.pid)
        try:
            self.connection.send(options, OPTIONS_SECONDS)
        except OSError:
            self.lost = True  # it has ended already; the next message says so too

    def request(self, order: Order, timeout_seconds: float) -> Reply:
        """Send an order and wait for the reply, at most this long in time in which this process ran.

        Raises
        ------
        TimeoutError
            There is no reply in time.
        EOFError, OSError
            The process has ended, or is marked failed because its reply is malformed.
        """
        deadline = CLOCK.now() + timeout_seconds
        self._send(order, timeout_seconds)
        return self._receive(REPLIES[type(order)], deadline - CLOCK.now())

    def check(self, order: Order, limit_seconds: float) -> Reply:
        """Send an order that is not for a client, and wait for the reply: a slow machine is no reason to give up.

        Parameters
        ----------
        order : Order
        limit_seconds : float
            Longest time until the reply. The time in which the worker waits for a processor or for the disk does not
            count, nor does the time in which this process does not run.

        Raises
        ------
        TimeoutError, EOFError, OSError
            As in `request`.
        """
        self._send(order, limit_seconds)
        return self._receive_without_waits(REPLIES[type(order)], limit_seconds)

    def _send(self, order: Order, timeout_seconds: float) -> None:
        try:
            self.connection.send(order, timeout_seconds)
        except TimeoutError:
            raise
        except OSError:
            self.lost = True
            raise

    def _receive(self, kinds: tuple[type[Reply], ...], timeout_seconds: float) -> Reply:
        """The next reply, which is of one of these kinds; raises the same errors as `request`."""
        try:
            return self.connection.receive(kinds, timeout_seconds)
        except TimeoutError:
            raise
        except MalformedMessage as error:
            self.mark_failed("malformed", f"its message is malformed: {error}", dump=False)
            raise EOFError from error
        except (EOFError, OSError):
            self.lost = True
            raise

    @property
    def unusable(self) -> bool:
        """Whether the process has ended or is marked failed."""
        return self.lost or self.failure is not None

    def receive_loaded(self, limit_seconds: float, closing: threading.Event) -> Reply:
        """The first message of the worker, which says whether it has loaded its model.

        Parameters
        ----------
        limit_seconds : float
            Longest time of loading; see `check`.
        closing : threading.Event
            Ends the wait early when it is set.

        Raises
        ------
        TimeoutError
            It takes longer, or `closing` is set.
        EOFError, OSError
            The process has ended.
        """
        return self._receive_without_waits(LOADED, limit_seconds, closing.is_set)

    def _receive_without_waits(
        self, kinds: tuple[type[Reply], ...], limit_seconds: float, given_up: Callable[[], bool] = lambda: False
    ) -> Reply:
        """The next reply, with a limit that leaves out the time in which the worker waits for a processor."""
        waited = WaitedTime()
        began = CLOCK.now()
        waited.read(began, thread_times(self.pid))
        while True:
            try:
                return self._receive(kinds, TURN_SECONDS)
            except TimeoutError:
                waited.read(CLOCK.now(), thread_times(self.pid))
                if given_up() or CLOCK.now() - began - waited.explains(str(self.pid)) >= limit_seconds:
                    return self._receive(kinds, 0.0)  # it may have come while this thread waited for a processor

    @property
    def heartbeat_age_seconds(self) -> float:
        """Age of the last heartbeat, in time in which this process ran; `ValueError` once the process is closed."""
        return self._heartbeat_age.seconds(self.heartbeat)

    def silent_seconds(self, allowance_seconds: float) -> float | None:
        """Age of the last heartbeat if it is too old; None if it is young enough, or if the machine is only slow.

        A thread that waits for a processor cannot update the heartbeat, but it is not stuck. So the time that the
        worker's threads have waited since the first suspicion does not count.
        """
        if not self.heartbeat.thread:  # it cannot beat yet; its load has a limit, too
            stopped = self._stopped.read(CLOCK.now(), thread_times(self.pid))
            return stopped if stopped > allowance_seconds else None
        if self.loading:
            allowance_seconds *= LOADING_ALLOWANCE
        return self._silence.seconds(
            CLOCK.now(),
            self.heartbeat_age_seconds,
            allowance_seconds,
            self.heartbeat.thread,
            lambda: thread_times(self.pid),
        )

    def mark_failed(self, reason: RestartReason, cause: str, *, dump: bool = True) -> None:
        """Mark the process failed: report it, keep a stack dump, kill it. Only the first call has an effect."""
        with self._lock:
            if self._closed or self.failure is not None:
                return
            self.failure = (reason, cause)
        try:
            self._on_failed(reason, cause)
            if dump:
                # The signal handler is native and needs no lock of the interpreter. A stopped process must be resumed.
                self._handle.send_signal(signal.SIGUSR1)
                self._handle.send_signal(signal.SIGCONT)
                self.dump = self._read_dump(DUMP_SECONDS)
            self._handle.send_signal(signal.SIGKILL)
        finally:
            self._failure_handled.set()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, as another program could."""
        self._handle.send_signal(number)

    def exit_cause(self) -> tuple[RestartReason, str]:
        """Why the process has ended: the failure if it was marked failed, else what the system reports."""
        if self.failure is not None:
            # another thread may still be reading the stack dump
            self._failure_handled.wait(FAILURE_SECONDS)
            return self.failure
        code = self._process.exit_code(1.0)
        if code is not None and code not in (worker.EXIT_OUT_OF_MEMORY, -signal.SIGKILL, UNKNOWN_EXIT):
            # what the fault handler wrote at the crash
            self.dump = self.dump or self._read_dump(0.0)
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            return "killed", f"ended by SIGKILL of the out-of-memory killer: {no_memory()}"
        return cause_of_exit(code)

    @property
    def rss_bytes(self) -> int | None:
        """Its resident memory in bytes."""
        return None if self._closed else rss_bytes(self.pid)

    @property
    def own_bytes(self) -> int | None:
        """The memory that it keeps, in bytes: without pages of files, which the kernel can take back."""
        return None if self._closed else own_bytes(self.pid)

    def close(self) -> None:
        """Kill the process if it still runs, and release everything that belongs to it."""
        with self._lock:
            self._closed = True
        if self.failure is not None:
            self._failure_handled.wait(FAILURE_SECONDS)
        self.connection.close()
        self._lifeline.close()
        self._handle.send_signal(signal.SIGKILL)
        if self._process.exit_code(5.0) is None:
            logger.critical("worker process %d does not end", self.pid)
        self._process.close()
        self._handle.close()
        self._dump.close()
        self.heartbeat.close()

    def _read_dump(self, timeout_seconds: float) -> str | None:
        """The stack dump; None if it does not begin in time. From its first byte on it has as much time again."""
        text = b""
        fd = self._dump.fileno()
        deadline = math.inf
        wait_seconds = timeout_seconds
        with suppress(OSError):
            while len(text) < MAX_DUMP_BYTES and wait([fd], wait_seconds):
                chunk = os.read(fd, MAX_DUMP_BYTES - len(text))
                if not chunk:
                    break
                if not text:
                    deadline = CLOCK.now() + timeout_seconds
                text += chunk
                wait_seconds = min(DUMP_PAUSE_SECONDS, max(0.0, deadline - CLOCK.now()))
        return text.decode("utf-8", "replace") or None


def cause_of_exit(code: int | None) -> tuple[RestartReason, str]:
    """Restart reason and cause for the exit code of a process that was not marked failed; None if it still runs."""
    if code is None:
        return "crashed", "it closed its pipe but has not ended"
    if code == worker.EXIT_OUT_OF_MEMORY:
        return "out_of_memory", "there was not enough memory to receive a recording"
    if code == -BOUND_SIGNAL:
        return "bound", "decoding its recording took more processor time than is allowed"
    if code == -signal.SIGKILL:
        return "killed", "ended by SIGKILL (from the system's out-of-memory killer, or from outside)"
    if code == UNKNOWN_EXIT:
        return "crashed", "ended with exit code 255, or with one that nobody could report: its fork server had ended"
    return "crashed", f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def try_out(server: ForkServer, timeout_seconds: float = 60.0) -> int | None:
    """The exit code of a worker process that gets no work and ends at once; it is 0.

    Raises
    ------
    NotStarted
        No process can be started.
    """
    with ExitStack() as stack:
        heartbeat = stack.enter_context(closing(Heartbeat()))
        connection, worker_end = (stack.enter_context(closing(end)) for end in stream_pair())
        lifeline, _alive = map(stack.enter_context, multiprocessing.Pipe(duplex=False))
        descriptors = [worker_end.fileno(), heartbeat.descriptor, lifeline.fileno(), lifeline.fileno()]
        deadline = CLOCK.now() + timeout_seconds
        process = stack.enter_context(closing(server.fork(descriptors, lambda: CLOCK.now() > deadline)))
        connection.close()
        worker_end.close()
        return process.exit_code(timeout_seconds)
