"""Runs the workers: one pool, one loop that watches it, and the change to another model.

Each worker has a thread (`WorkerSlot`), which may block. The loop of this module never blocks. Ten times a second it
checks each worker's heartbeat, drops expired jobs, and notes the time of its turn. A lost worker is always replaced.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from ccmusic.errors import (
    InvalidParameter,
    ModelFileNotFound,
    ModelNotReady,
    ModelRefused,
    Overloaded,
    Quarantined,
    SwapInProgress,
    TooManyRequests,
)
from ccmusic.health.clock import CLOCK
from ccmusic.health.waits import OWN_WAITS
from ccmusic.inference.result import TrackResult
from ccmusic.models.store import ModelLocation, locate
from ccmusic.settings import Settings, asked_precision
from ccmusic.workers import faults
from ccmusic.workers.channel import Inject, Job
from ccmusic.workers.fork_server import shared_fork_server
from ccmusic.workers.job_queue import PAUSED, Ticket
from ccmusic.workers.pool import Pool
from ccmusic.workers.quarantine import Quarantine
from ccmusic.workers.records import READY_STATES
from ccmusic.workers.restart_log import RestartLog
from ccmusic.workers.served_model import ServedModel
from ccmusic.workers.supervisor_state import SupervisorState
from ccmusic.workers.suspects import Culprits, SuspectClients
from ccmusic.workers.swap import RecentInputs, SwapReport, compare, require_same_labels, wait_until_loaded

logger = logging.getLogger(__name__)

WATCH_SECONDS = 0.1
MAX_RETRY_AFTER_SECONDS = 60.0
COMMAND_SECONDS = 60.0


class Supervisor:
    """The pool of workers behind one bounded queue.

    Parameters
    ----------
    settings : Settings
    on_event : callable, optional
        Called from any thread after an event that health must report at once.

    Attributes
    ----------
    pool : Pool
        The workers of the model in use.
    """

    def __init__(self, settings: Settings, on_event: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._restart_log = RestartLog(on_event)
        self._culprits = Culprits(
            Quarantine(settings.quarantine_seconds),
            SuspectClients(settings.suspect_recordings, settings.quarantine_seconds, settings.suspect_pause_seconds),
        )
        self._fork_server = shared_fork_server(settings)
        self._fork_server.on_event = self._restart_log.notify
        self._lock = threading.Lock()
        self._all_answered = threading.Condition(self._lock)
        self._in_system = 0
        self._swapping = threading.Lock()
        self._recent = RecentInputs()
        self._sticky: dict[str, float] = {}
        self.inject_at_start(settings.faults_at_start)
        self.pool = self._new_pool(locate(settings.model, asked_precision(settings)))
        self._candidate: Pool | None = None
        self._stopping = threading.Event()
        self._turned_at = CLOCK.now()
        self._loop = threading.Thread(target=self._watch, name="ccmusic-supervisor", daemon=True)

    def state(self) -> SupervisorState:
        """Everything that is known now. All facts about the model and its workers come from one pool."""
        pool = self.pool  # read once: another model may take over at any moment
        counts, restarts, dumps = self._restart_log.read()
        return replace(
            pool.state(),
            restart_counts=counts,
            restarts=restarts,
            stack_dumps=dumps,
            n_quarantined=len(self._culprits.quarantine),
            n_suspect_clients=len(self._culprits.clients),
            loop_age_seconds=OWN_WAITS.without(self._loop, CLOCK.now() - self._turned_at),
            fork_server=self._fork_server.state(),
        )

    def start(self) -> None:
        """Start the workers; returns at once."""
        self.pool.start()
        self._loop.start()

    def submit(self, job: Job) -> Future[TrackResult]:
        """Queue one recording.

        Parameters
        ----------
        job : Job

        Returns
        -------
        Future of TrackResult
            Cancelling it removes the job from the queue if no worker has begun it.

        Raises
        ------
        ModelNotReady
            No worker holds a verified model.
        Overloaded
            Too many recordings wait, or this one would wait too long.
        """
        roster = self.pool.roster
        match roster.model_status:
            case "loading":
                raise ModelNotReady("Model is still loading...")
            case "error":
                raise ModelNotReady(f"Model loading failed: {roster.load_error}")
        now = CLOCK.now()
        future: Future[TrackResult] = Future()
        with self._lock:
            displaced = self._admit(job.client)
            self._in_system += 1
            # under the lock, so that each ticket moves to the new model's queue when the model changes
            self.pool.queue.put(Ticket(job, future, now, now + self._settings.request_timeout_seconds))
        future.add_done_callback(self._on_answered)
        if displaced is not None:  # without the lock, which its callbacks take
            displaced.fail(Overloaded("the queue is full, and other clients have fewer recordings in it", 1.0))
        if self._settings.model_repository is not None:
            self._recent.add(job)
        return future

    def refuse_quarantined(self, job: Job) -> None:
        """Raise `Quarantined` for a recording that ended two workers. May hash it, so not for the event loop."""
        if self._culprits.quarantine.blocks(job.source):
            raise Quarantined("this recording ended two workers and is refused for now")

    def drain(self, timeout_seconds: float) -> bool:
        """Wait until every accepted recording has been answered; returns whether that was in time."""
        with self._all_answered:
            answered = self._all_answered.wait_for
            return CLOCK.wait(lambda left: answered(lambda: self._in_system == 0, left), timeout_seconds)

    def stop(self, grace_seconds: float = 5.0) -> None:
        """Refuse waiting recordings, let running jobs end within `grace_seconds`, and end the workers."""
        self._stopping.set()
        pools = [pool for pool in (self.pool, self._candidate) if pool is not None]
        for pool in pools:
            pool.close()
            for ticket in pool.queue.empty():
                ticket.fail(ModelNotReady("the service is stopping"))
        for pool in pools:
            pool.join(grace_seconds)

    def load_model(self, name: str) -> SwapReport:
        """Change to another model of the repository if it is good enough; blocks until that is decided.

        Parameters
        ----------
        name : str
            A directory in the setting ``model_repository``.

        Returns
        -------
        SwapReport

        Raises
        ------
        ModelFileNotFound
            There is no such model.
        ModelError
            The new model was refused, and the old one continues.
        SwapInProgress
            Another change is under way.
        """
        directory = self._settings.model_repository
        if directory is None or not (directory / name).is_dir():
            raise ModelFileNotFound(f"there is no model {name!r} in the repository")
        if not self._swapping.acquire(blocking=False):
            raise SwapInProgress("another model is being loaded; wait for its result")
        try:
            return self._swap(locate(str(directory / name), asked_precision(self._settings)))
        finally:
            self._swapping.release()

    def _swap(self, location: ModelLocation) -> SwapReport:
        began = CLOCK.now()
        old = self.pool
        candidate = self._candidate = self._new_pool(location)
        candidate.roster.restart_log = RestartLog(lambda: None)  # a failed load of the candidate is no restart
        candidate.start()
        try:
            importing = location.directory is None
            limit = self._settings.load_timeout_seconds + importing * self._settings.import_timeout_seconds
            wait_until_loaded(candidate, limit)
            require_same_labels(old, candidate)
            compared, agreement, slowdown = compare(old, candidate, self._recent.jobs())
            self._judge(compared, agreement, slowdown)
        except Exception:
            candidate.close()
            candidate.join(5.0)
            self._candidate = None
            raise
        candidate.roster.restart_log = self._restart_log  # from now on its restarts count
        with self._lock:
            for ticket in old.queue.empty():
                candidate.queue.put(ticket)
            self.pool = candidate
        self._candidate = None
        old.close()  # each of its workers ends after its job
        threading.Thread(target=self._end, args=(old,), name="ccmusic-old-model", daemon=True).start()
        self._restart_log.notify()
        return SwapReport(
            previous=_name_of(old.roster.served),
            model=_name_of(candidate.roster.served),
            compared=compared,
            agreement=agreement,
            slowdown=round(slowdown, 3),
            seconds=round(CLOCK.now() - began, 3),
        )

    def _end(self, old: Pool) -> None:
        """Wait until the workers of the old model have ended. The recordings of those that were lost are not."""
        old.join(self._settings.job_timeout_seconds)
        with self._lock:
            for ticket in old.queue.empty():
                self.pool.queue.put(ticket, first=True)

    def _judge(self, compared: int, agreement: float | None, slowdown: float) -> None:
        """Raise `ModelRefused` if a new model differs too much from the old one, or is too slow."""
        if agreement is not None and agreement < self._settings.swap_min_agreement:
            raise ModelRefused(
                f"it names the same genre for only {agreement:.0%} of {compared} recent recordings; "
                f"at least {self._settings.swap_min_agreement:.0%} is required"
            )
        if slowdown > self._settings.swap_max_slowdown:
            raise ModelRefused(
                f"it takes {slowdown:.1f} times the old model's time; "
                f"at most {self._settings.swap_max_slowdown:g} times is allowed"
            )

    # injected faults

    def inject(self, fault: str, worker: int = 0, size: float | None = None) -> int:
        """Inject one of `faults.FAULTS`; returns the number of places in memory that it changed."""
        if not self._settings.fault_injection:
            raise InvalidParameter("fault", "cannot be injected: the setting fault_injection is off")
        if fault not in faults.FAULTS:
            raise InvalidParameter("fault", f"must be one of {', '.join(faults.FAULTS)}, not {fault!r}")
        if not 0 <= worker < self._settings.workers:
            raise InvalidParameter("worker", f"must be 0 to {self._settings.workers - 1}, not {worker}")
        size = faults.DEFAULT_SIZE.get(fault, 1.0) if size is None else size
        if fault in faults.STICKY:
            self._sticky[fault] = size
        match fault:
            case "kill":
                self.pool.send_signal(worker, signal.SIGKILL)
            case "freeze":
                self.pool.send_signal(worker, signal.SIGSTOP)
            case "pause-self-test":
                self.pool.roster.self_tests_paused = True
            case "leak" | "error":
                for index in range(self._settings.workers):
                    self.pool.send_command(index, Inject(fault, size)).result(COMMAND_SECONDS)
            case "hold-gil":
                self.pool.send_command(worker, Inject(fault, size))  # the reply comes when the lock is free again
            case _ if fault not in faults.STICKY and fault not in faults.FROM_OUTSIDE:
                return self.pool.send_command(worker, Inject(fault, size)).result(COMMAND_SECONDS)
        return 0

    def inject_at_start(self, names: tuple[str, ...]) -> None:
        """Make faults active in every worker from its start."""
        for name in names:
            if name not in faults.STICKY:
                raise InvalidParameter("faults", f"must be of {', '.join(sorted(faults.STICKY))}, not {name!r}")
            self._sticky[name] = faults.DEFAULT_SIZE.get(name, 1.0)

    def clear_faults(self) -> None:
        """End every fault that is active until cleared."""
        self._sticky.clear()
        self.pool.roster.self_tests_paused = False
        for record in self.pool.roster.state().workers:
            if record.state in READY_STATES:
                self.pool.send_command(record.index, Inject("clear", 0.0))
        self.pool.wake()

    def restart_workers(self) -> None:
        """Replace each worker after its job."""
        self.pool.restart_workers()

    # inside

    def _new_pool(self, location: ModelLocation) -> Pool:
        return Pool(
            self._settings,
            location,
            self._fork_server,
            self._restart_log,
            self._culprits,
            lambda: tuple(self._sticky.items()),
        )

    def _admit(self, client: str) -> Ticket | None:
        """Raise `Overloaded` if a new recording cannot be answered in time; the caller holds the lock.

        Returns
        -------
        Ticket or None
            A waiting recording of another client that must make room for it.
        """
        if pause := self._culprits.clients.pause_seconds(client):
            raise TooManyRequests(PAUSED, pause)
        predicted = self.pool.predicted_wait_seconds(client)
        retry_after = min(max(1.0, predicted), MAX_RETRY_AFTER_SECONDS)
        if client in self._culprits.clients and self.pool.queue.by_suspects() >= self._settings.max_queue // 2:
            raise Overloaded(
                "recordings of this client have ended workers; its others wait for each other", retry_after
            )
        if predicted > self._settings.max_wait_seconds or self.pool.queue.overdue:
            raise Overloaded(f"the wait for a worker is longer than {self._settings.max_wait_seconds:g} s", retry_after)
        if self._in_system < self._settings.max_queue:
            return None
        displaced = self.pool.queue.displace(client)
        if displaced is None:
            raise Overloaded(f"{self._in_system} recordings are waiting already; try again in a moment", retry_after)
        return displaced

    def _on_answered(self, _: Future[TrackResult]) -> None:
        with self._all_answered:
            self._in_system -= 1
            if self._in_system == 0:
                self._all_answered.notify_all()

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_SECONDS):
            self._turned_at = CLOCK.now()
            try:
                self._fork_server.start()  # its thread, if it has ended
                for pool in (self.pool, self._candidate):
                    if pool is not None:
                        pool.watch()
            except Exception:  # the loop must continue
                logger.exception("watching the workers failed")


def _name_of(served: ServedModel | None) -> str:
    if served is None:
        return "none"
    return f"{served.identity.name} {served.identity.version} {served.identity.sha256[:12]}"
