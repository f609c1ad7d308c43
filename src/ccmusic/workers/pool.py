"""The workers of one model, and their queue."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace

from ccmusic.health.clock import CLOCK
from ccmusic.models.store import ModelLocation
from ccmusic.settings import Settings
from ccmusic.workers.channel import Inject, WorkerOptions
from ccmusic.workers.fork_server import ForkServer
from ccmusic.workers.job_queue import JobQueue
from ccmusic.workers.preparation import Preparation
from ccmusic.workers.records import QueueState, RestartReason, WorkerRecord
from ccmusic.workers.restart_log import RestartLog
from ccmusic.workers.roster import Roster
from ccmusic.workers.slot_watch import SlotWatch
from ccmusic.workers.supervisor_state import SupervisorState
from ccmusic.workers.suspects import Culprits
from ccmusic.workers.worker_process import WorkerProcess
from ccmusic.workers.worker_slot import WorkerSlot

KILL_SECONDS = 5.0
"""Longest wait for workers that were killed, all together."""


class Pool:
    """A roster, a queue, and a slot for each worker.

    Parameters
    ----------
    settings : Settings
    location : ModelLocation
    fork_server : ForkServer
    restart_log : RestartLog
    culprits : Culprits
    faults : callable
        Returns the faults that are active in workers that start now.
    """

    def __init__(
        self,
        settings: Settings,
        location: ModelLocation,
        fork_server: ForkServer,
        restart_log: RestartLog,
        culprits: Culprits,
        faults: Callable[[], tuple[tuple[str, float], ...]],
    ) -> None:
        self.settings = settings
        self.roster = Roster(settings, location, restart_log)
        self.queue = JobQueue(settings.max_wait_seconds, culprits.clients)
        self._fork_server = fork_server
        self._faults = faults
        self.slots = tuple(
            WorkerSlot(index, self.roster, self.queue, culprits, self._new_process) for index in range(settings.workers)
        )
        self._slot_watch = SlotWatch(self.slots)
        self._preparation = None if location.directory is not None else Preparation(self.roster, self._start_slots)

    def start(self) -> None:
        """Start the workers, after the preparation if there is no model directory yet; returns at once."""
        if self._preparation is not None:
            self._preparation.start()
        else:
            self._start_slots()

    def _start_slots(self) -> None:
        for slot in self.slots:
            if not self.roster.closing.is_set():
                with suppress(RuntimeError):  # at a limit of threads; `watch` tries again
                    slot.start()

    def close(self) -> None:
        """Let each worker end after its job; returns at once."""
        self.roster.closing.set()
        self.wake()

    def join(self, timeout_seconds: float) -> None:
        """Wait until the workers have ended. Kill those that have not ended in time."""
        deadline = CLOCK.now() + timeout_seconds
        if self._preparation is not None and self._preparation.ident is not None:
            _join(self._preparation, deadline)
        for slot in self.slots:
            _join(slot, deadline)
        for slot in self.slots:
            if slot.is_alive() and (process := slot.process) is not None:
                process.send_signal(signal.SIGKILL)
        deadline = CLOCK.now() + KILL_SECONDS
        for slot in self.slots:
            _join(slot, deadline)

    def state(self) -> SupervisorState:
        """The state of this model, its workers and its queue."""
        state = self.roster.state()
        waiting, oldest = self.queue.waiting()
        running = sum(worker.state == "busy" for worker in state.workers)
        return replace(
            state,
            workers=tuple(map(self._with_live_values, state.workers, self.slots)),
            preparing=None if self._preparation is None else self._preparation.stage,
            queue=QueueState(waiting, running, oldest),
            queue_overdue=self.queue.overdue,
            stuck=self._slot_watch.problems,
        )

    @staticmethod
    def _with_live_values(record: WorkerRecord, slot: WorkerSlot) -> WorkerRecord:
        """Add the heartbeat and the memory of the worker process to a record."""
        process = slot.process
        if process is None or record.pid != process.pid:
            return record
        try:
            return replace(
                record,
                stage=process.heartbeat.stage,
                stage_seconds=round(process.heartbeat.stage_seconds, 3),
                heartbeat_age_seconds=round(process.heartbeat_age_seconds, 3),
                rss_bytes=process.rss_bytes,
            )
        except ValueError:
            return record  # the process has just ended, and its shared memory is released

    def predicted_wait_seconds(self, client: str) -> float:
        """How long a new recording of this client will wait; 0 if none is before it, or the time of jobs is unknown."""
        return self.roster.predicted_wait_seconds(self.queue.n_before(client))

    def watch(self) -> None:
        """Check every worker's heartbeat, and drop expired jobs; called several times a second."""
        self.queue.expire()
        self._slot_watch.turn()
        for slot in self.slots:
            process = slot.process
            if process is None or process.unusable:
                continue
            try:
                silent = process.silent_seconds(self.settings.heartbeat_seconds)
                stage = process.heartbeat.stage
            except ValueError:
                continue  # the process has just ended, and its shared memory is released
            if silent is not None:
                _mark_failed(process, f"no heartbeat for {silent:.1f} seconds, in stage {stage}")

    def restart_workers(self) -> None:
        """Replace each worker after its job."""
        for slot in self.slots:
            slot.retire_after_job = True
            slot.wake()

    def wake(self) -> None:
        """End the pauses between failed loads."""
        for slot in self.slots:
            slot.wake()

    def send_signal(self, index: int, number: signal.Signals) -> None:
        """Send a signal to a worker process, as another program could."""
        process = self.slots[index].process
        if process is not None:
            process.send_signal(number)

    def send_command(self, index: int, command: Inject) -> Future[int]:
        """Send a command to one worker; the future gives how many places in memory it changed."""
        return self.slots[index].send_command(command)

    def _new_process(self, on_failed: Callable[[RestartReason, str], None]) -> WorkerProcess:
        settings = self.settings
        options = WorkerOptions(
            self.roster.location,
            settings.decode_limits,
            settings.threads_per_worker,
            settings.worker_niceness,
            settings.fault_injection,
            self._faults(),
            settings.device,
            settings.worker_descriptors,
            settings.worker_file_bytes,
            settings.worker_sandbox,
        )
        closing = self.roster.closing
        return WorkerProcess(lambda fds: self._fork_server.fork(fds, closing.is_set), options, on_failed)


def _mark_failed(process: WorkerProcess, cause: str) -> None:
    """Replace a worker that is stuck, without waiting for its stack dump: the others may be stuck, too."""
    marking = threading.Thread(target=process.mark_failed, args=("heartbeat", cause), name="ccmusic-stack-dump")
    marking.daemon = True
    try:
        marking.start()
    except RuntimeError:  # at a limit of threads
        process.mark_failed("heartbeat", cause, dump=False)


def _join(thread: threading.Thread | WorkerSlot, deadline: float) -> None:
    """Wait for the end of a thread until a moment on the clock of this process."""

    def ended(left: float) -> bool:
        thread.join(left)
        return not thread.is_alive()

    CLOCK.wait(ended, deadline - CLOCK.now())
