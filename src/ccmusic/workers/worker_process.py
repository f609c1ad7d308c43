"""One worker process, from its start to its end, as the front process sees it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext

from ccmusic.workers import worker
from ccmusic.workers.channel import Order, Reply, WorkerOptions
from ccmusic.workers.heartbeat import Heartbeat
from ccmusic.workers.process_info import Handle, longest_delay, rss_bytes, run_delays
from ccmusic.workers.records import RestartReason

logger = logging.getLogger(__name__)

SUSPICION_SHARE = 0.3
"""Share of the heartbeat's allowance after which we look whether the worker gets a processor at all."""
LOADING_ALLOWANCE = 10.0
"""How much longer the heart may be silent while libraries and network are loaded."""
DUMP_SECONDS = 0.3
"""How long a stuck worker may take to write down where it stands."""

FORK_SERVER_GONE = 255
"""What multiprocessing says of a process of whose end nobody is left to tell."""
GIVING_UP_SECONDS = 5.0

SPAWNING = threading.Lock()
"""One at a time: the fork server's start is not thread-safe."""


class WorkerProcess:
    """A worker process and everything shared with it.

    Parameters
    ----------
    context : BaseContext
    index : int
        Its place in the pool.
    options : WorkerOptions
    on_condemned : callable
        Told the reason and the cause at once when the process is given up, before anything slow.
    """

    def __init__(
        self,
        context: BaseContext,
        index: int,
        options: WorkerOptions,
        on_condemned: Callable[[RestartReason, str], None],
    ) -> None:
        self.pulse = Heartbeat()
        self.connection, theirs = context.Pipe()
        self._dump, dump_end = context.Pipe(duplex=False)
        lifeline, self._lifeline = context.Pipe(duplex=False)
        self._on_condemned = on_condemned
        self._lock = threading.Lock()
        self._ended = False
        self._suspect_since: dict[str, float] | None = None
        self.condemned: tuple[RestartReason, str] | None = None
        self.lost = False
        self.end_noted = False
        self._done_with = threading.Event()
        self.dump: str | None = None
        self.loading = True
        self._process = context.Process(  # type: ignore[attr-defined]
            target=worker.run,
            args=(theirs, self.pulse, dump_end, lifeline, options),
            name=f"ccmusic-worker-{index}",
            daemon=True,
        )
        try:
            with SPAWNING:
                self._process.start()
        finally:
            for end in (theirs, dump_end, lifeline):
                end.close()  # so that its death reads as the end of the pipes
        self.pid: int = self._process.pid
        self._handle = Handle(self.pid)

    def ask(self, order: Order, timeout_seconds: float) -> Reply:
        """Send an order and wait for the reply.

        Raises
        ------
        TimeoutError
            No reply in time.
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
        """The next reply; raises as `ask` does."""
        if not wait([self.connection], max(0.0, timeout_seconds)):
            raise TimeoutError
        try:
            reply: Reply = self.connection.recv()
        except (EOFError, OSError):
            self.lost = True
            raise
        return reply

    @property
    def over(self) -> bool:
        """Whether the process has ended or has been given up."""
        return self.lost or self.condemned is not None

    def silent_seconds(self, allowance_seconds: float) -> float | None:
        """How long the heart has been silent beyond its allowance; None while it is well, or only starved of processor.

        A thread that waits for a processor cannot beat, and is not stuck: the time that the worker's threads have spent
        in that state since we began to look is taken off.
        """
        if self.loading:
            allowance_seconds *= LOADING_ALLOWANCE
        age = self.pulse.age_seconds
        if age < SUSPICION_SHARE * allowance_seconds:
            self._suspect_since = None
            return None
        delays = run_delays(self.pid)
        if self._suspect_since is None:
            self._suspect_since = delays
        silent = age - longest_delay(self._suspect_since, delays)
        return silent if silent > allowance_seconds else None

    def condemn(self, reason: RestartReason, cause: str, *, dump: bool = True) -> None:
        """Give the process up: say so, keep what it was doing, kill it. Only the first call counts."""
        with self._lock:
            if self._ended or self.condemned is not None:
                return
            self.condemned = (reason, cause)
        try:
            self._give_up(reason, cause, dump)
        finally:
            self._done_with.set()

    def _give_up(self, reason: RestartReason, cause: str, dump: bool) -> None:
        self._on_condemned(reason, cause)
        if dump:
            # The signal's handler is native and needs no lock of the interpreter; a stopped process must run to obey.
            self._handle.send(signal.SIGUSR1)
            self._handle.send(signal.SIGCONT)
            self.dump = self._read_dump(DUMP_SECONDS)
        self._handle.send(signal.SIGKILL)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal, as somebody else might."""
        self._handle.send(number)

    def how_it_ended(self) -> tuple[RestartReason, str]:
        """Why the process is no more: our own reason if it was condemned, else what the system says."""
        if self.condemned is not None:
            # by another thread, perhaps, which still listens to where the process stood
            self._done_with.wait(GIVING_UP_SECONDS)
            return self.condemned
        self._process.join(1.0)
        code = self._process.exitcode
        if code is None:
            return "crashed", "it hung up without ending"
        if code == worker.EXIT_OUT_OF_MEMORY:
            return "out_of_memory", "it had not enough memory to receive a recording"
        if code == -signal.SIGKILL:
            return "killed", "ended by SIGKILL (the system's memory killer, or somebody)"
        if code == FORK_SERVER_GONE:
            return "crashed", "ended together with the fork server, or with exit code 255"
        # what the fault handler wrote in its last moment
        self.dump = self.dump or self._read_dump(0.0)
        return "crashed", f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    @property
    def rss_bytes(self) -> int | None:
        """Its resident memory."""
        return None if self._ended else rss_bytes(self.pid)

    def end(self) -> None:
        """Make sure that the process is gone, and let go of everything."""
        with self._lock:
            self._ended = True
        if self.condemned is not None:
            self._done_with.wait(GIVING_UP_SECONDS)
        self.connection.close()
        self._lifeline.close()
        self._handle.send(signal.SIGKILL)
        self._process.join(5.0)
        if self._process.exitcode is None:
            logger.critical("worker process %d does not end", self.pid)
        else:
            self._process.close()
        self._handle.close()
        self._dump.close()
        self.pulse.close()

    def _read_dump(self, timeout_seconds: float) -> str | None:
        text = b""
        fd = self._dump.fileno()
        deadline = time.monotonic() + timeout_seconds
        quiet_seconds = timeout_seconds
        with suppress(OSError):
            while select.select([fd], [], [], quiet_seconds)[0]:
                chunk = os.read(fd, 65536)
                if not chunk:
                    break
                text += chunk
                quiet_seconds = min(0.03, max(0.0, deadline - time.monotonic()))
        return text.decode("utf-8", "replace") or None


def worker_context() -> BaseContext:
    """A fork server where there is one: it imports the pipeline once, and each worker then starts in milliseconds."""
    # The matrix library of numpy reads this when it is loaded, so it must stand in the environment of our children. Its
    # threads spin for tens of milliseconds after each product, on the very cores that the network wants next.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ccmusic.workers.preload"])
    return context
