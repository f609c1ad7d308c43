"""Looks after one place in a pool: starts a worker, hands it jobs, tests it, replaces it."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from ccmusic.errors import (
    CcmusicError,
    InferenceTimeout,
    ModelChanged,
    ModelRefused,
    NonFiniteOutput,
    OutOfMemory,
    Quarantined,
    WorkerDied,
)
from ccmusic.inference.result import TrackResult
from ccmusic.workers.channel import Failed, Inject, Injected, Ready, Reply, SelfTest, SelfTested
from ccmusic.workers.job_queue import Ticket, Wakeup
from ccmusic.workers.quarantine import digest_of
from ccmusic.workers.records import RestartReason
from ccmusic.workers.worker_process import WorkerProcess

if TYPE_CHECKING:
    from ccmusic.workers.pool import Pool

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.1
"""Before the second replacement in a row; the first comes at once."""
MAX_PAUSE_SECONDS = 30.0
"""Between two loads that fail."""
MAX_PAUSE_AFTER_WORK_SECONDS = 1.0
"""Between two lives that had begun well: their ends were the recordings' doing, and others are waiting."""
GOOD_LIFE_SECONDS = 2.0
SELF_TEST_TIMEOUT_SECONDS = 30.0
EARLY = 0.8
"""Periods after which a worker with nothing to do is tested: within a period it should be."""
OVERDUE = 1.0
"""Periods after which a self-test goes before jobs that wait: it takes milliseconds."""
MAX_LOSSES = 5
"""Workers that may end under a job through no fault of its own before it is given up."""
MISSING_FILE_SECONDS = 0.5
"""How often a missing model file is looked for."""

INTERRUPTION = (EOFError, OSError, TimeoutError)


class WorkerSlot(threading.Thread):
    """The thread of one place in a pool.

    Parameters
    ----------
    pool : Pool
    index : int
    """

    def __init__(self, pool: Pool, index: int) -> None:
        super().__init__(name=f"ccmusic-worker-{index}", daemon=True)
        self._pool = pool
        self._index = index
        self._bell = Wakeup()
        self._pause = 0.0
        self._errands: list[tuple[Inject, Future[int]]] = []
        self._base_rss: int | None = None
        self.life: WorkerProcess | None = None
        self.retire_after_job = False
        self._handed_on = False

    def run(self) -> None:
        """Start, use and replace the worker until the pool closes."""
        while not self._pool.closing.is_set():
            began = time.monotonic()
            worked = False
            try:
                worked = self._live()
            except Exception as error:  # no process to be had, say: a thread that ended would end the worker for good
                logger.exception("worker %d: its keeper failed", self._index)
                self._pool.change(self._index, state="failed", error=f"{type(error).__name__}: {error}")
            if self._pool.closing.is_set():
                break
            if time.monotonic() - began > GOOD_LIFE_SECONDS:
                self._pause = 0.0
            self._rest()
            self._pause = min(
                max(FIRST_PAUSE_SECONDS, 2 * self._pause), MAX_PAUSE_AFTER_WORK_SECONDS if worked else MAX_PAUSE_SECONDS
            )
        self._pool.change(self._index, state="retiring", pid=None)
        self._bell.close()

    def wake(self) -> None:
        """Have it look around: the pool closes, or there is an errand."""
        self._bell.ring()

    def send_on_errand(self, order: Inject) -> Future[int]:
        """Have an order brought to the worker as soon as it is idle; gives the number of places changed."""
        future: Future[int] = Future()
        self._errands.append((order, future))
        self.wake()
        return future

    def _rest(self) -> None:
        """The pause before the next process; it ends early when what was missing is back."""
        missing = self._pool.record(self._index).state == "failed" and self._pool.location.missing() is not None
        deadline = time.monotonic() + self._pause
        while (left := deadline - time.monotonic()) > 0:
            if wait([self._bell.descriptor], min(left, MISSING_FILE_SECONDS)):
                self._bell.quiet()
                return
            if missing and self._pool.location.missing() is None:
                return

    # one life

    def _live(self) -> bool:
        """One life of the worker, from its start to its end; whether it ever was ready."""
        life = WorkerProcess(self._pool.context, self._index, self._pool.options(), self._condemned)
        self.life = life
        # A place that could not load stays failed until it can: what is wrong is still wrong while it is tried again.
        self._pool.change(self._index, pid=life.pid)
        ready = False
        try:
            ready = self._loaded(life)
            if ready:
                self._serve(life)
        finally:
            if life.over and not self._pool.closing.is_set():
                self._mourn(life, ready)
            self.life = None
            life.end()
        return ready

    def _condemned(self, reason: RestartReason, cause: str) -> None:
        """Told at once when the process is given up, by whoever gave it up."""
        self._pool.change(self._index, state="starting")
        self._pool.note_restart(self._index, reason, cause)

    def _note_end(self, life: WorkerProcess, ticket: Ticket | None = None) -> str:
        """Note how a process ended that nobody gave up; once, and before anybody is told of what it took along."""
        reason, cause = life.how_it_ended()
        if life.condemned is None and not life.end_noted:
            life.end_noted = True
            self._pool.note_loss(self._index, ticket)
            self._condemned(reason, cause)
        return cause

    def _mourn(self, life: WorkerProcess, ready: bool) -> None:
        """Keep how a life ended, and where it stood then."""
        if ready:  # else its end has been noted as a failed load
            self._note_end(life)
        reason, cause = life.how_it_ended()
        self._pool.note_dump(self._index, life.pid, reason, cause, life.dump)
        self._pool.change(self._index, pid=None)

    def _loaded(self, life: WorkerProcess) -> bool:
        try:
            reply = life.receive(self._pool.settings.load_timeout_seconds)
        except TimeoutError:
            limit = self._pool.settings.load_timeout_seconds
            life.condemn("load", f"loading took longer than {limit:g} seconds")
            return self._failed(ModelRefused(f"loading took longer than {limit:g} seconds"))
        except (EOFError, OSError):
            _, cause = life.how_it_ended()
            return self._failed(
                ModelRefused(f"the worker process ended while loading: {cause}"), restart=life.condemned is None
            )
        match reply:
            case Ready(model):
                if life.condemned is not None:
                    return self._failed(ModelRefused(life.condemned[1]), restart=False)
                logger.info("worker %d holds %s %s", self._index, model.name, model.version)
                life.loading = False
                self._base_rss = life.rss_bytes
                self._pool.proved(self._index, reply)
                self._pool.change(self._index, state="idle", error=None)
                return True
            case Failed(error):
                return self._failed(error)
        raise TypeError(f"a worker that loads does not send {type(reply).__name__}")

    def _failed(self, error: CcmusicError, *, restart: bool = True) -> bool:
        text = error.sentence
        logger.error("worker %d: loading failed: %s; next try in %.1f s", self._index, text, self._pause)
        self._pool.change(self._index, state="failed", error=text, pid=None)
        self._pool.load_failure = error
        if restart:
            self._pool.note_restart(self._index, "load", text)
        return False

    # work

    def _serve(self, life: WorkerProcess) -> None:
        """Hand out jobs and self-tests until the process ends, must end, or is no longer wanted."""
        queue = self._pool.queue
        while not life.over:
            if self._errands:
                self._run_errand(life)
                continue  # it may have been the end of it
            if self.retire_after_job or self._pool.closing.is_set():
                self.retire_after_job = False
                queue.leave(self._bell)
                return
            if self._pool.self_test_due(self._index, OVERDUE):
                queue.leave(self._bell)
                self._self_test(life)
                continue
            ticket = queue.take(self._bell)
            if ticket is not None:
                self._work(ticket, life)
                continue
            if self._pool.self_test_due(self._index, EARLY):
                queue.leave(self._bell)
                self._self_test(life)
                continue
            if life.connection in wait(
                [life.connection, self._bell.descriptor], self._pool.until_self_test(self._index, EARLY)
            ):
                queue.leave(self._bell)
                life.lost = True  # nobody asked it anything, so it can only be the end
                return
            self._bell.quiet()

    def _work(self, ticket: Ticket, life: WorkerProcess) -> None:
        """Have one job done."""
        began = time.monotonic()
        self._pool.change(self._index, state="busy")
        limit = min(self._pool.settings.job_timeout_seconds, ticket.deadline - began)
        try:
            reply = life.ask(ticket.job, limit)
        except TimeoutError:
            life.condemn("deadline", f"a job passed its {limit:.3g} seconds in stage {life.pulse.stage}")
            self._pool.quarantine.blame(self._digest(ticket))
            ticket.fail(InferenceTimeout(f"stopped after {limit:.3g} seconds of work"))
        except (EOFError, OSError):
            self._lost(ticket, began, life)
        else:
            self._answer(ticket, reply, began, life)
            self._pool.count_job(self._index)
        finally:
            # Whatever goes wrong here, nobody is left waiting; a ticket that went to another worker waits for that.
            if not ticket.future.done() and not self._handed_on:
                ticket.fail(WorkerDied("the job was lost inside the service"))
            self._handed_on = False

    def _answer(self, ticket: Ticket, reply: Reply, began: float, life: WorkerProcess) -> None:
        if isinstance(reply, Failed) and isinstance(reply.error, ModelChanged):
            # The answer is held back, and that is not the recording's fault: a sound worker shall give it.
            self._pool.note_self_test(self._index, 0.0, str(reply.error))
            life.condemn("self_test", str(reply.error), dump=False)
            self._hand_on(ticket)
            return
        if ticket.blamed is not None:
            self._pool.quarantine.absolve(ticket.blamed)
        match reply:
            case TrackResult():
                self._pool.note_job_seconds(time.monotonic() - began)
                timings = {"queue": began - ticket.accepted_at, **reply.timings}
                ticket.future.set_result(replace(reply, timings=timings))
            case Failed(NonFiniteOutput() as error):
                ticket.future.set_exception(error)
                life.condemn("non_finite", str(error), dump=False)
            case Failed(OutOfMemory() as error):
                ticket.future.set_exception(error)
                life.condemn("out_of_memory", str(error), dump=False)
            case Failed(error):
                ticket.future.set_exception(error)
            case _:
                raise TypeError(f"a worker that works does not send {type(reply).__name__}")
        self._recycle_if_grown(life)

    def _lost(self, ticket: Ticket, began: float, life: WorkerProcess) -> None:
        """The process ended over a job: once more elsewhere, and if that ends as well, never again."""
        reason = life.how_it_ended()[0]
        had_begun = life.pulse.busy_since(began) or reason == "out_of_memory"
        cause = self._note_end(life, ticket)
        again = ticket.blamed is not None
        if had_begun:
            digest = self._digest(ticket)
            if again and not self._pool.lost_with_others(self._index, ticket, reason):
                # The same job ended two workers, one after the other: that is no accident of theirs.
                self._pool.quarantine.hold(digest)
                ticket.fail(Quarantined("this recording ended two workers and is refused from now on"))
                self._pool.ledger.event()
                return
        ticket.losses += 1
        if ticket.losses <= MAX_LOSSES and ticket.deadline > time.monotonic() and not self._pool.closing.is_set():
            logger.warning("worker %d: %s; its job goes to another", self._index, cause)
            self._hand_on(ticket)
        else:
            ticket.fail(WorkerDied(f"the worker process was lost during this job: {cause}"))

    def _hand_on(self, ticket: Ticket) -> None:
        self._handed_on = True
        self._pool.queue.put(ticket, first=True)

    @staticmethod
    def _digest(ticket: Ticket) -> str:
        """The recording's digest, noted on the ticket: a worker has been lost over it."""
        try:
            ticket.blamed = digest_of(ticket.job.source)
        except OSError:  # its file is gone, and so is the danger
            ticket.blamed = ""
        return ticket.blamed

    def _recycle_if_grown(self, life: WorkerProcess) -> None:
        rss = life.rss_bytes
        if life.condemned is not None or rss is None or self._base_rss is None:
            return
        grown = rss - self._base_rss
        if grown > self._pool.settings.recycle_growth_bytes and self._pool.others_ready(self._index):
            life.condemn("memory_growth", f"grown by {grown / 2**20:.0f} MB since its start; replaced", dump=False)

    def _self_test(self, life: WorkerProcess) -> None:
        self._pool.change(self._index, state="testing")
        cause = None
        seconds = 0.0
        try:
            reply = life.ask(SelfTest(), SELF_TEST_TIMEOUT_SECONDS)
        except TimeoutError:
            cause = f"no answer to the golden clips within {SELF_TEST_TIMEOUT_SECONDS:g} seconds"
        except (EOFError, OSError):
            return  # it ended by itself; that is noted as such
        else:
            if not isinstance(reply, SelfTested):
                raise TypeError(f"a worker that is tested does not send {type(reply).__name__}")
            seconds, cause = reply.seconds, reply.cause
        self._pool.note_self_test(self._index, seconds, cause)
        if cause is not None:
            life.condemn("self_test", cause)
            return
        if not life.over:  # it may have been given up meanwhile, for a heart that stood still, and woken to answer this
            self._pool.change(self._index, state="idle")

    def _run_errand(self, life: WorkerProcess) -> None:
        order, future = self._errands.pop(0)
        try:
            reply = life.ask(order, SELF_TEST_TIMEOUT_SECONDS)
            future.set_result(reply.changes if isinstance(reply, Injected) else 0)
        except INTERRUPTION as error:
            future.set_exception(WorkerDied(f"the worker was lost over this errand: {type(error).__name__}"))
