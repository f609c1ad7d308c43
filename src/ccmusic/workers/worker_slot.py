"""The place of one worker: a thread that starts its process, gives it jobs and self-tests, and replaces it."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import wait

from ccmusic.errors import CcmusicError, ModelRefused, ModelReplaced, NoRoom, WorkerDied
from ccmusic.health.clock import CLOCK
from ccmusic.workers.channel import Failed, Inject, Injected, Ready, SelfTest, SelfTested
from ccmusic.workers.fork_server import ForkServerLost, NotStarted
from ccmusic.workers.job_queue import JobQueue, Ticket
from ccmusic.workers.records import RestartReason
from ccmusic.workers.restart_pause import FIRST_PAUSE_SECONDS, After, RestartPause
from ccmusic.workers.roster import Roster
from ccmusic.workers.slot_jobs import SlotJobs
from ccmusic.workers.suspects import BY_RECORDING, Culprits
from ccmusic.workers.wakeup import Wakeup
from ccmusic.workers.worker_process import WorkerProcess

logger = logging.getLogger(__name__)

LONG_RUN_SECONDS = 2.0
"""After a process that ran longer than this, the next one starts without a pause."""
SELF_TEST_TIMEOUT_SECONDS = 30.0
"""Longest time of a self-test, without the time in which the worker waits for a processor."""
EARLY = 0.8
"""An idle worker is tested after this many self-test periods, so that it is tested within one period."""
OVERDUE = 1.0
"""After this many periods, a self-test is done before waiting jobs: it takes milliseconds."""
END_SECONDS = 15.0
"""Longest time to record and close a process that has ended or is killed."""

StartProcess = Callable[[Callable[[RestartReason, str], None]], WorkerProcess]


class WorkerSlot:
    """The place of one worker in a pool. Worker processes come and go in it.

    Parameters
    ----------
    index : int
        The number of the slot.
    roster : Roster
        Where the slot records what it knows about its worker.
    queue : JobQueue
    culprits : Culprits
    start_process : callable
        Starts a worker process, given a callback for the moment when the process is marked failed.

    Attributes
    ----------
    process : WorkerProcess or None
        The present worker process.
    retire_after_job : bool
        Whether the worker must be replaced as soon as it has no job.
    step : tuple of str and float
        What the thread does, and until when on the clock of this process that may take.
    thread : Thread or None
        None before its start.
    """

    def __init__(
        self, index: int, roster: Roster, queue: JobQueue, culprits: Culprits, start_process: StartProcess
    ) -> None:
        self._index = index
        self._roster = roster
        self._queue = queue
        self._jobs = SlotJobs(index, roster, queue, culprits, self._note_end)
        self._start_process = start_process
        self._wakeup = Wakeup()
        self._pause = RestartPause(self._wakeup, roster)
        self._commands: list[tuple[Inject, Future[int]]] = []
        self._base_bytes: int | None = None
        self.process: WorkerProcess | None = None
        self.retire_after_job = False
        self.step = ("nothing", math.inf)
        self._starting = threading.Lock()
        self._was_started = False
        self.thread: threading.Thread | None = None

    # the thread

    def start(self) -> None:
        """Start the thread unless it runs, also again if it has ended.

        Raises
        ------
        RuntimeError
            The system refuses another thread. `has_stopped` is true then, so that it is tried again.
        """
        with self._starting:  # the watch of the slots may call this, too
            if self.is_alive():
                return
            self._was_started = True
            thread = threading.Thread(target=self._run, name=f"ccmusic-worker-{self._index}", daemon=True)
            thread.start()
            self.thread = thread

    @property
    def has_stopped(self) -> bool:
        """Whether the thread was started and has ended although the roster is open."""
        return self._was_started and not self.is_alive() and not self._roster.closing.is_set()

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self.thread is not None and self.thread.is_alive()

    def join(self, timeout_seconds: float) -> None:
        """Wait until the thread has ended, if it was started."""
        if self.is_alive() and self.thread is not None:
            self.thread.join(timeout_seconds)

    def _begin(self, step: str, limit_seconds: float) -> None:
        """Note what the thread does now; it is reported as stuck if that takes much longer than the limit."""
        self.step = (step, CLOCK.now() + limit_seconds)

    def _run(self) -> None:
        """Start, use and replace the worker until the roster closes."""
        while not self._roster.closing.is_set():
            try:
                self._turn()
            except Exception:  # the thread must try again
                logger.exception("worker %d: its slot failed", self._index)
                self._roster.closing.wait(FIRST_PAUSE_SECONDS)
        self._roster.change(self._index, state="retiring", pid=None)
        self._begin("nothing", math.inf)
        self._wakeup.close()

    def _turn(self) -> None:
        """Run one process from its start to its end, and pause before the next one."""
        began = CLOCK.now()
        worked = False
        after: After = "a failed load"
        try:
            worked = self._run_process()
        except ForkServerLost as error:
            logger.warning("worker %d: %s", self._index, error)
            after = "a failed start"
        except NotStarted as error:
            if self._roster.closing.is_set():
                return
            logger.error("worker %d: %s; next try in %.1f s", self._index, error, self._pause.seconds)
            self._roster.change(self._index, state="failed", error=str(error), error_code=None, pid=None)
            after = "a failed start"
        except Exception as error:
            logger.exception("worker %d: its slot failed", self._index)
            self._roster.change(self._index, state="failed", error=f"{type(error).__name__}: {error}", error_code=None)
        if self._roster.closing.is_set():
            return
        if CLOCK.now() - began > LONG_RUN_SECONDS:
            self._pause.seconds = 0.0
        if worked:
            after = "work"
        elif isinstance(self._roster.load_failure, NoRoom):
            after = "a failed start"
        self._begin("the pause before the next process", self._pause.limit(after))
        self._pause.wait(after, watch_files=self._roster.record(self._index).state == "failed")

    def wake(self) -> None:
        """Make the slot check whether the roster closes or a command waits."""
        self._wakeup.wake()

    def send_command(self, command: Inject) -> Future[int]:
        """Send a command to the worker as soon as it is idle; the future gives the number of places changed."""
        future: Future[int] = Future()
        self._commands.append((command, future))
        self.wake()
        return future

    # one process

    def _run_process(self) -> bool:
        """Run one worker process from its start to its end; returns whether it was ever ready."""
        self._begin("the start of a process", math.inf)  # the fork server is watched itself
        process = self._start_process(self._on_failed)
        self.process = process
        # The state stays "failed" after a failed load until a load succeeds: the fault may still be there.
        self._roster.change(self._index, pid=process.pid)
        ready = False
        try:
            ready = self._load(process)
            if ready:
                self._serve(process)
        finally:
            self._begin("the end of a process", END_SECONDS)
            try:
                if process.unusable and not self._roster.closing.is_set():
                    self._record_exit(process, ready)
            finally:
                self.process = None
                process.close()
        return ready

    def _on_failed(self, reason: RestartReason, cause: str) -> None:
        """Called at once when a process is marked failed, from the thread that marks it."""
        # The restart first, and with the job: the sampler may look at any moment, and must see why no worker is ready.
        self._roster.note_restart(self._index, reason, cause, self._jobs.ticket if reason in BY_RECORDING else None)
        self._roster.change(self._index, state="starting")

    def _note_end(self, process: WorkerProcess, ticket: Ticket | None = None) -> str:
        """Record the end of a process that was not marked failed; once, and before the job's caller gets an answer."""
        reason, cause = process.exit_cause()
        if process.failure is None and not process.end_noted:
            process.end_noted = True
            self._roster.note_loss(self._index, ticket)
            self._on_failed(reason, cause)
        return cause

    def _record_exit(self, process: WorkerProcess, ready: bool) -> None:
        """Record how a process ended, and its stack dump."""
        if ready:  # otherwise its end is recorded as a failed load
            self._note_end(process)
        reason, cause = process.exit_cause()
        self._roster.restart_log.record_dump(self._index, process.pid, reason, cause, process.dump)
        self._roster.change(self._index, pid=None)

    def _load(self, process: WorkerProcess) -> bool:
        """Wait until the process has loaded the model; returns whether it has."""
        limit = self._roster.settings.load_timeout_seconds
        self._begin("loading the model", math.inf)  # the wait has a limit of its own
        try:
            reply = process.receive_loaded(limit, self._roster.closing)
        except TimeoutError:
            if self._roster.closing.is_set():
                return False
            process.mark_failed("load", f"loading took longer than {limit:g} seconds")
            return self._load_failed(ModelRefused(f"loading took longer than {limit:g} seconds"), restart=False)
        except (EOFError, OSError):
            _, cause = process.exit_cause()
            return self._load_failed(
                ModelRefused(f"the worker process ended while loading: {cause}"), restart=process.failure is None
            )
        match reply:
            case Ready():
                return self._accept(process, reply)
            case Failed(error):
                return self._load_failed(error)
        raise TypeError(f"a loading worker does not send {type(reply).__name__}")

    def _accept(self, process: WorkerProcess, ready: Ready) -> bool:
        """Use a process that has loaded its model, unless it was marked failed or has another model than the others."""
        if process.failure is not None:
            return self._load_failed(ModelRefused(process.failure[1]), restart=False)
        try:
            self._roster.note_loaded(self._index, ready)
        except ModelReplaced as error:
            return self._load_failed(error)
        identity = ready.served.identity
        logger.info("worker %d has loaded %s %s", self._index, identity.name, identity.version)
        process.loading = False
        self._base_bytes = process.own_bytes
        self._roster.change(self._index, state="idle", error=None)
        return True

    def _load_failed(self, error: CcmusicError, *, restart: bool = True) -> bool:
        text = error.sentence
        logger.error("worker %d: loading failed: %s; next try in %.1f s", self._index, text, self._pause.seconds)
        self._roster.note_load_failure(self._index, error)
        if restart:
            self._roster.note_restart(self._index, "load", text)
        return False

    # jobs

    def _serve(self, process: WorkerProcess) -> None:
        """Give the process jobs, self-tests and commands until it ends or must be replaced."""
        while not process.unusable:
            if self._commands:
                self._run_command(process)
                continue  # the command may have ended the process
            if self.retire_after_job or self._roster.closing.is_set():
                self.retire_after_job = False
                self._queue.leave(self._wakeup)
                return
            if self._roster.self_test_due(self._index, OVERDUE):
                self._queue.leave(self._wakeup)
                self._self_test(process)
                continue
            ticket = self._queue.take(self._wakeup, may_be_lost=self._roster.others_can_answer(self._index))
            if ticket is not None:
                self._work(ticket, process)
                continue
            if self._roster.self_test_due(self._index, EARLY):
                self._queue.leave(self._wakeup)
                self._self_test(process)
                continue
            idle_seconds = self._roster.until_self_test(self._index, EARLY)
            self._begin("the wait for a job", idle_seconds)
            connection = process.connection.fileno()
            if connection in wait([connection, self._wakeup.descriptor], idle_seconds):
                self._queue.leave(self._wakeup)
                process.lost = True  # no order was sent, so the pipe is readable only because the process has ended
                return
            self._wakeup.clear()

    def _work(self, ticket: Ticket, process: WorkerProcess) -> None:
        """Let the process do one job."""
        limit = self._jobs.limit_seconds(ticket)
        self._begin("a job", max(0.0, limit) + END_SECONDS)
        self._jobs.do(ticket, process, limit)
        self._recycle_if_grown(process)

    def _recycle_if_grown(self, process: WorkerProcess) -> None:
        """Replace a worker whose memory has grown too much, if the others are ready and its successor would be too."""
        now = process.own_bytes
        if process.unusable or now is None or self._base_bytes is None:
            return
        grown = now - self._base_bytes
        if (
            grown > self._roster.settings.recycle_growth_bytes
            and self._roster.others_ready(self._index)
            and self._roster.disk_holds_served()
        ):
            process.mark_failed(
                "memory_growth", f"its memory has grown by {grown / 2**20:.0f} MB since its start", dump=False
            )

    def _self_test(self, process: WorkerProcess) -> None:
        self._roster.change(self._index, state="testing")
        self._begin("a self-test", math.inf)  # the wait has a limit of its own
        cause = None
        seconds = 0.0
        try:
            reply = process.check(SelfTest(), SELF_TEST_TIMEOUT_SECONDS)
        except TimeoutError:
            cause = f"no answer to the golden clips within {SELF_TEST_TIMEOUT_SECONDS:g} seconds"
        except (EOFError, OSError):
            return  # the process ended by itself, which is recorded as such
        else:
            if not isinstance(reply, SelfTested):
                raise TypeError(f"a worker in self-test does not send {type(reply).__name__}")
            seconds, cause = reply.seconds, reply.cause
        self._roster.note_self_test(self._index, seconds, cause)
        if cause is not None:
            process.mark_failed("self_test", cause)
            return
        # A frozen worker is resumed for its stack dump and may answer then, although it is marked failed.
        if not process.unusable:
            self._roster.change(self._index, state="idle")

    def _run_command(self, process: WorkerProcess) -> None:
        command, future = self._commands.pop(0)
        self._begin("a command", math.inf)
        try:
            reply = process.check(command, SELF_TEST_TIMEOUT_SECONDS)
            future.set_result(reply.changes if isinstance(reply, Injected) else 0)
        except (EOFError, OSError, TimeoutError) as error:
            future.set_exception(WorkerDied(f"the worker was lost during this command: {type(error).__name__}"))
