"""Keeps the worker processes alive and hands each of them one job at a time.

One thread in the front process looks after one worker: it starts the process, waits until the model is loaded and
proved, takes a job from the shared queue, waits for the reply until the job's deadline, and replaces a process that
died, hung or could not load. It never gives up; a failing load is tried again after a pause that doubles up to
`MAX_PAUSE_SECONDS`.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Literal

from ccmusic.errors import InferenceTimeout, ModelFileNotFound, ModelNotReady, Overloaded, WorkerDied
from ccmusic.inference.result import ModelIdentity, TrackResult
from ccmusic.models.store import locate
from ccmusic.settings import Settings
from ccmusic.workers import worker
from ccmusic.workers.channel import Failed, Job, Ready, Reply, WorkerOptions

logger = logging.getLogger(__name__)

LOAD_TIMEOUT_SECONDS = 120.0
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 30.0
IDLE_CHECK_SECONDS = 0.2
"""How soon the death of an idle worker is noticed."""

WorkerState = Literal["starting", "idle", "busy", "failed"]
ModelStatus = Literal["loading", "ready", "error"]


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """What is known of one worker."""

    index: int
    state: WorkerState
    pid: int | None
    restarts: int
    jobs: int
    error: str | None = None


@dataclass(slots=True)
class _Ticket:
    job: Job
    future: Future[TrackResult]
    accepted_at: float


class Supervisor:
    """The pool of workers behind one bounded queue.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._options = WorkerOptions(locate(settings.model), settings.decode_limits, settings.threads_per_worker)
        self._queue: queue.Queue[_Ticket] = queue.Queue()
        self._lock = threading.Lock()
        self._in_system = 0
        self._stopping = threading.Event()
        self._model: ModelIdentity | None = None
        self._records = [WorkerRecord(i, "starting", None, 0, 0) for i in range(settings.workers)]
        self._threads: list[threading.Thread] = []

    # what it knows

    @property
    def workers(self) -> tuple[WorkerRecord, ...]:
        """A record of each worker, as of now."""
        with self._lock:
            return tuple(self._records)

    @property
    def model(self) -> ModelIdentity | None:
        """The model that the workers last proved; None before the first."""
        with self._lock:
            return self._model

    @property
    def model_status(self) -> ModelStatus:
        """`error` when every worker's last load failed, `ready` once a worker has proved the model, else `loading`.

        Stays `ready` while lost workers are replaced: what is queued then is answered a moment later.
        """
        if all(record.state == "failed" for record in self.workers):
            return "error"
        return "loading" if self.model is None else "ready"

    @property
    def load_error(self) -> str | None:
        """Why loading failed; None unless it failed."""
        return next((record.error for record in self.workers if record.error is not None), None)

    # what it does

    def start(self) -> None:
        """Start the workers; returns at once."""
        context = _context(self._settings.threads_per_worker)
        for index in range(self._settings.workers):
            thread = threading.Thread(
                target=_Keeper(self, index, context).keep, name=f"ccmusic-worker-{index}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def submit(self, job: Job) -> Future[TrackResult]:
        """Queue one recording.

        Parameters
        ----------
        job : Job

        Returns
        -------
        Future of TrackResult
            Cancelling it drops the job if no worker has begun it.

        Raises
        ------
        ModelNotReady
            No worker holds a proved model.
        Overloaded
            The queue is full.
        """
        match self.model_status:
            case "loading":
                raise ModelNotReady("Model is still loading...")
            case "error":
                raise ModelNotReady(f"Model loading failed: {self.load_error}")
        with self._lock:
            if self._in_system >= self._settings.max_queue:
                raise Overloaded(
                    f"{self._in_system} recordings are waiting already; try again in a moment", retry_after_seconds=2.0
                )
            self._in_system += 1
        future: Future[TrackResult] = Future()
        future.add_done_callback(self._left)
        self._queue.put(_Ticket(job, future, time.monotonic()))
        return future

    def stop(self, grace_seconds: float = 5.0) -> None:
        """Refuse what still waits, let running jobs end within the grace, end the workers."""
        self._stopping.set()
        deadline = time.monotonic() + grace_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        while True:
            try:
                ticket = self._queue.get_nowait()
            except queue.Empty:
                return
            if ticket.future.set_running_or_notify_cancel():
                ticket.future.set_exception(ModelNotReady("the service is stopping"))

    def _left(self, _: Future[TrackResult]) -> None:
        with self._lock:
            self._in_system -= 1

    def _record(self, index: int, **changes: object) -> None:
        with self._lock:
            self._records[index] = replace(self._records[index], **changes)  # type: ignore[arg-type]

    def _proved(self, model: ModelIdentity) -> None:
        with self._lock:
            self._model = model


class _Keeper:
    """Looks after one worker, in a thread of its own."""

    def __init__(self, supervisor: Supervisor, index: int, context: BaseContext) -> None:
        self._supervisor = supervisor
        self._index = index
        self._context = context
        self._pause = FIRST_PAUSE_SECONDS

    def keep(self) -> None:
        """Start, use and replace the worker until the supervisor stops."""
        stopping = self._supervisor._stopping
        while not stopping.is_set():
            try:
                self._live()
            except (
                Exception
            ) as error:  # no process to be had, say: a thread that ended here would end the worker for good
                logger.exception("worker %d: its keeper failed", self._index)
                self._failed(f"{type(error).__name__}: {error}")
            restarts = self._supervisor.workers[self._index].restarts + 1
            self._supervisor._record(self._index, pid=None, restarts=restarts)
            stopping.wait(self._pause)
            self._pause = min(2 * self._pause, MAX_PAUSE_SECONDS)

    def _live(self) -> None:
        """One life of the worker, from its start to its end."""
        process, connection = self._spawn()
        try:
            if self._loaded(process, connection):
                self._pause = FIRST_PAUSE_SECONDS
                self._serve(process, connection)
        finally:
            connection.close()
            _end(process)

    def _spawn(self) -> tuple[BaseProcess, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(  # type: ignore[attr-defined]
            target=worker.run,
            args=(theirs, self._supervisor._options),
            name=f"ccmusic-worker-{self._index}",
            daemon=True,
        )
        process.start()
        theirs.close()  # so that its death reads as the end of the pipe
        self._supervisor._record(self._index, pid=process.pid)
        return process, ours

    def _loaded(self, process: BaseProcess, connection: Connection) -> bool:
        try:
            reply = _receive(process, connection, LOAD_TIMEOUT_SECONDS)
        except TimeoutError:
            return self._failed(f"loading took longer than {LOAD_TIMEOUT_SECONDS:g} seconds")
        except EOFError:
            return self._failed(f"the worker process ended while loading ({_end_of(process)})")
        match reply:
            case Ready(model):
                logger.info("worker %d holds %s %s", self._index, model.name, model.version)
                self._supervisor._proved(model)
                self._supervisor._record(self._index, state="idle", error=None)
                return True
            case Failed(ModelFileNotFound() as error):
                return self._failed(f"Model file not found: {error}")
            case Failed(error):
                return self._failed(str(error))
        raise TypeError(f"a worker that loads does not send {type(reply).__name__}")

    def _failed(self, error: str) -> bool:
        logger.error("worker %d: loading failed: %s; next try in %.1f s", self._index, error, self._pause)
        self._supervisor._record(self._index, state="failed", error=error)
        return False

    def _serve(self, process: BaseProcess, connection: Connection) -> None:
        while not self._supervisor._stopping.is_set():
            try:
                ticket = self._supervisor._queue.get(timeout=IDLE_CHECK_SECONDS)
            except queue.Empty:
                if process.is_alive():
                    continue
                logger.error("worker %d ended while idle (%s); replacing it", self._index, _end_of(process))
                self._supervisor._record(self._index, state="starting")
                return
            if not ticket.future.set_running_or_notify_cancel():
                continue  # its caller has gone
            self._supervisor._record(self._index, state="busy")
            alive = self._work(ticket, process, connection)
            jobs = self._supervisor.workers[self._index].jobs + 1
            self._supervisor._record(self._index, state="idle" if alive else "starting", jobs=jobs)
            if not alive:
                return

    def _work(self, ticket: _Ticket, process: BaseProcess, connection: Connection) -> bool:
        """Have one job done; False when the worker is lost."""
        waited = time.monotonic() - ticket.accepted_at
        limit = self._supervisor._settings.job_timeout_seconds
        try:
            connection.send(ticket.job)
            reply = _receive(process, connection, limit)
        except TimeoutError:
            logger.error("worker %d: a job passed its %g seconds; replacing the worker", self._index, limit)
            ticket.future.set_exception(InferenceTimeout(f"stopped after {limit:g} seconds of work"))
            return False
        except (EOFError, OSError):
            how = _end_of(process)
            logger.error("worker %d ended during a job (%s); replacing it", self._index, how)
            ticket.future.set_exception(WorkerDied(f"the worker process ended during this job ({how})"))
            return False
        match reply:
            case TrackResult():
                ticket.future.set_result(replace(reply, timings={"queue": waited, **reply.timings}))
            case Failed(error):
                ticket.future.set_exception(error)
            case _:
                raise TypeError(f"a worker that works does not send {type(reply).__name__}")
        return True


def _receive(process: BaseProcess, connection: Connection, timeout_seconds: float) -> Reply:
    """The next reply; `TimeoutError` when none comes in time, `EOFError` when the process ended first."""
    if not wait([connection, process.sentinel], timeout_seconds):
        raise TimeoutError
    if not connection.poll():
        raise EOFError
    reply: Reply = connection.recv()
    return reply


def _end(process: BaseProcess) -> None:
    """Wait a moment for a worker that was hung up on, then kill it."""
    process.join(0.5)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()


def _end_of(process: BaseProcess) -> str:
    process.join(1.0)
    code = process.exitcode
    if code is None:
        return "still running"
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _context(threads: int) -> BaseContext:
    """A fork server where there is one: it imports the pipeline once, and each worker then starts in milliseconds."""
    # The matrix library of numpy reads this when it is loaded, so it must stand in the environment of our children. One
    # thread a core in each of N workers would have them all wait for one another.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ccmusic.workers.worker", "ccmusic.inference.pipeline"])
    return context
