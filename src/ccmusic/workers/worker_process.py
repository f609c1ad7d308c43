"""One worker process, from its start to its end, as the front process sees it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext

from ccmusic.health.clock import CLOCK
from ccmusic.workers import worker
from ccmusic.workers.channel import Order, Reply, WorkerOptions
from ccmusic.workers.heartbeat import Heartbeat
from ccmusic.workers.heartbeat_age import HeartbeatAge
from ccmusic.workers.process_info import ProcessHandle, longest_delay, own_bytes, rss_bytes, run_delays
from ccmusic.workers.records import RestartReason

logger = logging.getLogger(__name__)

SUSPICION_SHARE = 0.3
"""Share of the allowed heartbeat age after which we check whether the worker gets a processor at all."""
LOADING_ALLOWANCE = 10.0
"""Factor of the allowed heartbeat age while libraries and network are loaded."""
DUMP_SECONDS = 0.3
"""Time that a stuck worker has to write its stack dump."""

FORK_SERVER_GONE = 255
"""Exit code that multiprocessing reports for a child of a fork server that has ended."""
FAILURE_SECONDS = 5.0
"""Longest wait for another thread that is just marking the process failed."""

SPAWNING = threading.Lock()
"""Only one thread starts a process at a time: the start of the fork server is not thread-safe."""


class WorkerProcess:
    """A worker process and everything that it shares with the front process.

    Parameters
    ----------
    context : BaseContext
    index : int
        The number of its slot.
    options : WorkerOptions
    on_failed : callable
        Called with reason and cause when the process is marked failed, before anything that takes time.

    Attributes
    ----------
    pid : int
    heartbeat : Heartbeat
    connection : Connection
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

    def __init__(
        self,
        context: BaseContext,
        index: int,
        options: WorkerOptions,
        on_failed: Callable[[RestartReason, str], None],
    ) -> None:
        self.heartbeat = Heartbeat()
        self.connection, worker_end = context.Pipe()
        self._dump, dump_end = context.Pipe(duplex=False)
        lifeline, self._lifeline = context.Pipe(duplex=False)
        self._on_failed = on_failed
        self._lock = threading.Lock()
        self._closed = False
        self._heartbeat_age = HeartbeatAge()
        self._suspect_since: dict[str, float] | None = None
        self._failure_handled = threading.Event()
        self.failure: tuple[RestartReason, str] | None = None
        self.lost = False
        self.end_noted = False
        self.dump: str | None = None
        self.loading = True
        self._process = context.Process(  # type: ignore[attr-defined]
            target=worker.run,
            args=(worker_end, self.heartbeat, dump_end, lifeline, options),
            name=f"ccmusic-worker-{index}",
            daemon=True,
        )
        try:
            with SPAWNING:
                self._process.start()
        finally:
            for end in (worker_end, dump_end, lifeline):
                end.close()  # so that the pipes read as ended when the worker ends
        self.pid: int = self._process.pid
        self._handle = ProcessHandle(self.pid)

    def request(self, order: Order, timeout_seconds: float) -> Reply:
        """Send an order and wait for the reply, at most this long in time in which this process ran.

        Raises
        ------
        TimeoutError
            There is no reply in time.
        EOFError, OSError
            The process has ended.
        """
        try:
            self.connection.send(order)
        except OSError:
            self.lost = True
            raise
        return self.receive(timeout_seconds)

    def receive(self, timeout_seconds: float) -> Reply:
        """The next reply; raises the same errors as `request`."""
        if not CLOCK.wait(lambda left: wait([self.connection], left), timeout_seconds):
            raise TimeoutError
        try:
            reply: Reply = self.connection.recv()
        except (EOFError, OSError):
            self.lost = True
            raise
        return reply

    @property
    def unusable(self) -> bool:
        """Whether the process has ended or is marked failed."""
        return self.lost or self.failure is not None

    @property
    def heartbeat_age_seconds(self) -> float:
        """Age of the last heartbeat, in time in which this process ran; `ValueError` once the process is closed."""
        return self._heartbeat_age.seconds(self.heartbeat.beat_at, self.heartbeat.age_seconds)

    def silent_seconds(self, allowance_seconds: float) -> float | None:
        """Age of the last heartbeat if it is too old; None if it is young enough, or if only a processor is missing.

        A thread that waits for a processor cannot update the heartbeat, but it is not stuck. So the time that the
        worker's threads have waited since the first suspicion does not count.
        """
        if self.loading:
            allowance_seconds *= LOADING_ALLOWANCE
        age = self.heartbeat_age_seconds
        if age < SUSPICION_SHARE * allowance_seconds:
            self._suspect_since = None
            return None
        delays = run_delays(self.pid)
        if self._suspect_since is None:
            self._suspect_since = delays
        silent = age - longest_delay(self._suspect_since, delays)
        return silent if silent > allowance_seconds else None

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
        self._process.join(1.0)
        code = self._process.exitcode
        if code is not None and code not in (worker.EXIT_OUT_OF_MEMORY, -signal.SIGKILL, FORK_SERVER_GONE):
            # what the fault handler wrote at the crash
            self.dump = self.dump or self._read_dump(0.0)
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
        self._process.join(5.0)
        if self._process.exitcode is None:
            logger.critical("worker process %d does not end", self.pid)
        else:
            self._process.close()
        self._handle.close()
        self._dump.close()
        self.heartbeat.close()

    def _read_dump(self, timeout_seconds: float) -> str | None:
        text = b""
        fd = self._dump.fileno()
        deadline = CLOCK.now() + timeout_seconds
        wait_seconds = timeout_seconds
        with suppress(OSError):
            while select.select([fd], [], [], wait_seconds)[0]:
                chunk = os.read(fd, 65536)
                if not chunk:
                    break
                text += chunk
                wait_seconds = min(0.03, max(0.0, deadline - CLOCK.now()))
        return text.decode("utf-8", "replace") or None


def cause_of_exit(code: int | None) -> tuple[RestartReason, str]:
    """Restart reason and cause for the exit code of a process that was not marked failed; None if it still runs."""
    if code is None:
        return "crashed", "it closed its pipe but has not ended"
    if code == worker.EXIT_OUT_OF_MEMORY:
        return "out_of_memory", "there was not enough memory to receive a recording"
    if code == -signal.SIGKILL:
        return "killed", "ended by SIGKILL (from the system's out-of-memory killer, or from outside)"
    if code == FORK_SERVER_GONE:
        return "crashed", "ended together with the fork server, or with exit code 255"
    return "crashed", f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def worker_context() -> BaseContext:
    """A fork server, if available: it imports the pipeline once, and each worker then starts in milliseconds."""
    # NumPy's matrix library reads this when it is loaded, so it must be in the environment of the child processes. Its
    # threads spin for tens of milliseconds after each product, on the same cores that the network needs next.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ccmusic.workers.preload"])
    return context
