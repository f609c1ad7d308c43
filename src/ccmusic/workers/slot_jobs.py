"""The jobs of one worker slot: each is answered, given to another worker, or refused."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from ccmusic.audio.budget import COSTS_TIME
from ccmusic.errors import (
    InferenceTimeout,
    ModelChanged,
    NonFiniteOutput,
    OutOfMemory,
    Quarantined,
    TooCostly,
    WorkerDied,
)
from ccmusic.health.clock import CLOCK
from ccmusic.inference.result import TrackResult
from ccmusic.workers.channel import Failed, Reply
from ccmusic.workers.job_queue import JobQueue, Ticket
from ccmusic.workers.records import RestartReason
from ccmusic.workers.roster import Roster
from ccmusic.workers.suspects import Culprits
from ccmusic.workers.worker_process import WorkerProcess

logger = logging.getLogger(__name__)

MAX_LOSSES = 5
"""A job fails when more workers than this have ended during it, even if the job is not the cause."""


class SlotJobs:
    """What becomes of a job when its worker answers, hangs or ends.

    Parameters
    ----------
    index : int
        The number of the slot.
    roster : Roster
    queue : JobQueue
        Where a job waits for another worker.
    culprits : Culprits
    note_end : callable
        Records that a process has ended during a ticket's job; returns the cause.

    Attributes
    ----------
    ticket : Ticket or None
        The present job.
    """

    def __init__(
        self,
        index: int,
        roster: Roster,
        queue: JobQueue,
        culprits: Culprits,
        note_end: Callable[[WorkerProcess, Ticket], str],
    ) -> None:
        self._index = index
        self._roster = roster
        self._queue = queue
        self._culprits = culprits
        self._note_end = note_end
        self._requeued = False
        self.ticket: Ticket | None = None

    def limit_seconds(self, ticket: Ticket) -> float:
        """How long the worker may take for this job."""
        return min(self._roster.settings.job_timeout_seconds, ticket.deadline - CLOCK.now())

    def do(self, ticket: Ticket, process: WorkerProcess, limit: float) -> None:
        """Let the process do one job in at most `limit` seconds, and answer the ticket."""
        began = CLOCK.now()
        sent_at = time.monotonic()  # the system's clock, which heartbeats have
        self._roster.change(self._index, state="busy")
        self.ticket = ticket
        try:
            reply = process.request(ticket.job, limit)
        except TimeoutError:
            process.mark_failed(
                "deadline", f"a job took longer than {limit:.3g} seconds, in stage {process.heartbeat.stage}"
            )
            error = InferenceTimeout(f"stopped after {limit:.3g} seconds of work")
            error.by_recording = self._put_down_to(ticket, "deadline")
            self._culprits.quarantine.record_death(ticket.suspect_digest or "")
            ticket.fail(error)
        except (EOFError, OSError):
            self._handle_loss(ticket, sent_at, process)
        else:
            self._answer(ticket, reply, began, process)
            self._roster.note_job_done(self._index)
        finally:
            # Whatever went wrong, the caller gets an answer. A ticket that is in the queue again waits for its answer.
            if not ticket.future.done() and not self._requeued:
                ticket.fail(WorkerDied("the job was lost inside the service"))
            if not self._requeued:  # else another slot may have it already
                self._queue.end(ticket)
            self._requeued = False
            self.ticket = None

    def _answer(self, ticket: Ticket, reply: Reply, began: float, process: WorkerProcess) -> None:
        if isinstance(reply, Failed) and isinstance(reply.error, ModelChanged):
            # The answer is not given, and the recording is not the cause: another worker must answer it.
            self._roster.note_self_test(self._index, 0.0, str(reply.error))
            process.mark_failed("self_test", str(reply.error), dump=False)
            self._requeue(ticket)
            return
        if not (isinstance(reply, Failed) and isinstance(reply.error, OutOfMemory | NonFiniteOutput)):
            self._note_survival(ticket)
        match reply:
            case TrackResult():
                self._roster.note_job_seconds(CLOCK.now() - began)
                timings = {"queue": began - ticket.accepted_at, **reply.timings}
                ticket.future.set_result(replace(reply, timings=timings))
                self._culprits.note_answer(ticket)
            case Failed(NonFiniteOutput() as error):
                ticket.future.set_exception(error)
                process.mark_failed("non_finite", str(error), dump=False)
            case Failed(OutOfMemory() as error):
                ticket.future.set_exception(error)
                process.mark_failed("out_of_memory", str(error), dump=False)
                self._put_down_to(ticket, "out_of_memory")
            case Failed(error):
                ticket.future.set_exception(error)
            case _:
                raise TypeError(f"a working worker does not send {type(reply).__name__}")

    def _handle_loss(self, ticket: Ticket, sent_at: float, process: WorkerProcess) -> None:
        """The process ended during a job: another worker tries the job once; if that one ends too, it is refused."""
        reason = process.exit_cause()[0]
        had_begun = process.heartbeat.busy_since(sent_at) or reason in ("out_of_memory", "malformed")
        cause = self._note_end(process, ticket)
        again = ticket.suspect_digest is not None
        if reason == "bound":  # certainly the recording: the kernel ended the worker while it decoded
            self._put_down_to(ticket, reason)
            self._culprits.quarantine.block(ticket.suspect_digest or "")
            ticket.fail(TooCostly(COSTS_TIME))
            return
        if had_begun:
            self._put_down_to(ticket, reason)
            if again and not self._roster.lost_with_others(self._index, ticket, reason):
                # The same job ended two workers, one after the other, so the job is the cause.
                self._culprits.quarantine.block(ticket.suspect_digest or "")
                ticket.fail(Quarantined("this recording ended two workers and is refused from now on"))
                self._roster.restart_log.notify()
                return
        elif not again:
            self._clear(ticket)
        ticket.losses += 1
        if ticket.losses <= MAX_LOSSES and ticket.deadline > CLOCK.now() and not self._roster.closing.is_set():
            logger.warning("worker %d: %s; another worker gets its job", self._index, cause)
            self._requeue(ticket)
        else:
            self._clear(ticket)  # a recording that is the cause is refused after its second loss
            ticket.fail(WorkerDied(f"the worker process was lost during this job: {cause}"))

    def _requeue(self, ticket: Ticket) -> None:
        self._requeued = True
        self._queue.put(ticket, first=True)

    def _put_down_to(self, ticket: Ticket, reason: RestartReason) -> bool:
        """The worker was lost during this job; returns whether its recording may be the cause."""
        may_be = self._culprits.note_loss(ticket, reason)
        if not may_be:
            self._roster.restart_log.clear_job(ticket.number)
        return may_be

    def _clear(self, ticket: Ticket) -> None:
        self._culprits.clear(ticket)
        self._roster.restart_log.clear_job(ticket.number)

    def _note_survival(self, ticket: Ticket) -> None:
        if ticket.suspect_digest is not None:
            self._culprits.note_survival(ticket)
            self._roster.restart_log.clear_job(ticket.number)
