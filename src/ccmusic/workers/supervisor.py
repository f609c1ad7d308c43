"""Keeps the workers alive: one queue, one pool of workers, one loop that watches them, and the way to another model.

Each worker is looked after by a thread (`WorkerSlot`), which may block; this module's loop never does, and does three
things ten times a second: it looks at every worker's heart, lets go of what has waited for too long, and notes that it
turned. It never gives a worker up for good.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from ccmusic.errors import (
    InvalidParameter,
    ModelFileNotFound,
    ModelNotReady,
    ModelRefused,
    Overloaded,
    Quarantined,
    SwapInProgress,
)
from ccmusic.genres import Taxonomy
from ccmusic.inference.result import ModelIdentity, TrackResult
from ccmusic.models.store import ModelLocation, locate
from ccmusic.models.training_profile import Reference
from ccmusic.settings import Settings, asked_precision
from ccmusic.workers import faults
from ccmusic.workers.channel import Inject, Job
from ccmusic.workers.job_queue import Ticket
from ccmusic.workers.pool import Pool
from ccmusic.workers.quarantine import Quarantine
from ccmusic.workers.records import (
    ModelStatus,
    QueueState,
    Restart,
    RestartReason,
    SelfTestState,
    StackDump,
    WorkerRecord,
)
from ccmusic.workers.restart_log import RestartLog
from ccmusic.workers.swap import RecentInputs, SwapReport, compare, require_same_labels, wait_until_loaded
from ccmusic.workers.worker_process import worker_context

logger = logging.getLogger(__name__)

WATCH_SECONDS = 0.1
MAX_RETRY_AFTER_SECONDS = 60.0
DROPPED_RECENTLY_SECONDS = 2.0
ERRAND_SECONDS = 60.0


class Supervisor:
    """The pool of workers behind one bounded queue.

    Parameters
    ----------
    settings : Settings
    on_event : callable, optional
        Called from any thread when something happened that health should know at once.
    """

    def __init__(self, settings: Settings, on_event: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._ledger = RestartLog(on_event)
        self._quarantine = Quarantine(settings.quarantine_seconds)
        self._context = worker_context()
        self._lock = threading.Lock()
        self._nothing_left = threading.Condition(self._lock)
        self._in_system = 0
        self._swapping = threading.Lock()
        self._recent = RecentInputs()
        self._sticky: dict[str, float] = {}
        self.inject_at_start(settings.faults_at_start)
        self._pool = self._new_pool(locate(settings.model, asked_precision(settings)))
        self._candidate: Pool | None = None
        self._stopping = threading.Event()
        self._turned_at = time.monotonic()
        self._loop = threading.Thread(target=self._watch, name="ccmusic-supervisor", daemon=True)

    # what it knows

    @property
    def workers(self) -> tuple[WorkerRecord, ...]:
        """A record of each worker, as of now."""
        return self._pool.records()

    @property
    def n_ready(self) -> int:
        """Workers that hold a proved model."""
        return self._pool.n_ready

    @property
    def model(self) -> ModelIdentity | None:
        """The model that the workers last proved; None before the first."""
        return self._pool.model

    @property
    def backend(self) -> str | None:
        """What runs the network; None before it runs."""
        return self._pool.backend

    @property
    def reference_mix(self) -> tuple[float, ...] | None:
        """What the card of the model in use expects of the mean probabilities; None when it says nothing."""
        return self._pool.reference_mix

    @property
    def taxonomies(self) -> tuple[Taxonomy, ...]:
        """What the model in use answers in, its own labels' first; empty before one is proved."""
        return self._pool.taxonomies

    @property
    def reference(self) -> Reference | None:
        """What else that card says of the recordings that the model was made with; None when it says nothing."""
        return self._pool.reference

    @property
    def location(self) -> ModelLocation:
        """Where the model in use lies."""
        return self._pool.location

    @property
    def model_status(self) -> ModelStatus:
        """`Pool.model_status` of the model in use."""
        return self._pool.model_status

    @property
    def load_error(self) -> str | None:
        """Why loading failed; None unless it failed."""
        return self._pool.load_error

    @property
    def load_failure(self) -> Exception | None:
        """The error behind `load_error`."""
        return self._pool.load_failure

    @property
    def caveat(self) -> str | None:
        """Why something else serves than what was asked for; None when nothing else does."""
        return self._pool.caveat

    @property
    def preparing(self) -> str | None:
        """What is being done to make a model directory of a checkpoint; None when nothing is."""
        return self._pool.preparing

    @property
    def restart_counts(self) -> Mapping[RestartReason, int]:
        """Replaced workers by reason; every reason is there."""
        return self._ledger.counts

    @property
    def restarts(self) -> tuple[Restart, ...]:
        """The last replacements, oldest first."""
        return self._ledger.restarts

    @property
    def stack_dumps(self) -> tuple[StackDump, ...]:
        """Where the last lost workers stood."""
        return self._ledger.dumps

    @property
    def queue(self) -> QueueState:
        """The line before the workers."""
        pool = self._pool
        return QueueState(pool.queue.n_waiting, pool.n_busy, pool.queue.oldest_wait_seconds)

    @property
    def queue_too_old(self) -> bool:
        """Whether somebody has waited, or has just been sent away for having waited, longer than is allowed."""
        queue = self._pool.queue
        dropped = time.monotonic() - queue.dropped_at < DROPPED_RECENTLY_SECONDS
        return dropped or queue.oldest_wait_seconds > self._settings.max_wait_seconds

    @property
    def self_test(self) -> SelfTestState | None:
        """The last answers to the golden clips; None before the first."""
        return self._pool.self_test()

    @property
    def n_quarantined(self) -> int:
        """Recordings that are refused because they ended two workers."""
        return len(self._quarantine)

    @property
    def loop_age_seconds(self) -> float:
        """Since the supervising loop last turned."""
        return time.monotonic() - self._turned_at

    # what it does

    def start(self) -> None:
        """Start the workers; returns at once."""
        self._pool.start()
        self._loop.start()

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
            Too many wait, or this one would wait too long.
        """
        match self.model_status:
            case "loading":
                raise ModelNotReady("Model is still loading...")
            case "error":
                raise ModelNotReady(f"Model loading failed: {self.load_error}")
        now = time.monotonic()
        future: Future[TrackResult] = Future()
        with self._lock:
            self._admit()
            self._in_system += 1
            # under the lock, so that a change of the model finds every ticket in one queue or the other
            self._pool.queue.put(Ticket(job, future, now, now + self._settings.request_timeout_seconds))
        future.add_done_callback(self._left)
        if self._settings.model_repository is not None:
            self._recent.add(job)
        return future

    def refuse_quarantined(self, job: Job) -> None:
        """Raise `Quarantined` for a recording that ended two workers; may hash it, so not on the event loop."""
        if self._quarantine.holds(job.source):
            raise Quarantined("this recording ended two workers and is refused for now")

    def drain(self, timeout_seconds: float) -> bool:
        """Wait until everything that was accepted has been answered; whether that came about in time."""
        with self._nothing_left:
            return self._nothing_left.wait_for(lambda: self._in_system == 0, timeout_seconds)

    def stop(self, grace_seconds: float = 5.0) -> None:
        """Refuse what still waits, let running jobs end within the grace, end the workers."""
        self._stopping.set()
        pools = [pool for pool in (self._pool, self._candidate) if pool is not None]
        for pool in pools:
            pool.close()
            for ticket in pool.queue.empty():
                ticket.fail(ModelNotReady("the service is stopping"))
        for pool in pools:
            pool.join(grace_seconds)

    def load_model(self, name: str) -> SwapReport:
        """Change to another model of the repository, if it proves to be as good; blocks until that is decided.

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
            The new model was refused, and the old one goes on.
        SwapInProgress
        """
        directory = self._settings.model_repository
        if directory is None or not (directory / name).is_dir():
            raise ModelFileNotFound(f"there is no model {name!r} in the repository")
        if not self._swapping.acquire(blocking=False):
            raise SwapInProgress("another model is being loaded; wait for its outcome")
        try:
            return self._swap(locate(str(directory / name), asked_precision(self._settings)))
        finally:
            self._swapping.release()

    def _swap(self, location: ModelLocation) -> SwapReport:
        began = time.monotonic()
        old = self._pool
        candidate = self._candidate = self._new_pool(location)
        candidate.ledger = RestartLog(lambda: None)  # its failing to load is no restart of ours
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
        candidate.ledger = self._ledger  # from now on what befalls its workers is ours to tell
        with self._lock:
            for ticket in old.queue.empty():
                candidate.queue.put(ticket)
            self._pool = candidate
        self._candidate = None
        old.close()  # each of its workers ends after its job
        threading.Thread(target=old.join, args=(self._settings.job_timeout_seconds,), daemon=True).start()
        self._ledger.event()
        return SwapReport(
            previous=_named(old.model),
            model=_named(candidate.model),
            compared=compared,
            agreement=agreement,
            slowdown=round(slowdown, 3),
            seconds=round(time.monotonic() - began, 3),
        )

    def _judge(self, compared: int, agreement: float | None, slowdown: float) -> None:
        """Raise `ModelRefused` when a new model is too different from the old one, or too slow."""
        if agreement is not None and agreement < self._settings.swap_min_agreement:
            raise ModelRefused(
                f"it names the same genre for only {agreement:.0%} of {compared} recent recordings; "
                f"at least {self._settings.swap_min_agreement:.0%} is asked for"
            )
        if slowdown > self._settings.swap_max_slowdown:
            raise ModelRefused(
                f"it takes {slowdown:.1f} times the old model's time; "
                f"at most {self._settings.swap_max_slowdown:g} times is allowed"
            )

    # faults on purpose

    def inject(self, fault: str, worker: int = 0, size: float | None = None) -> int:
        """Bring about one of `faults.FAULTS`; gives how many places in memory it altered."""
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
                self._pool.signal(worker, signal.SIGKILL)
            case "freeze":
                self._pool.signal(worker, signal.SIGSTOP)
            case "pause-self-test":
                self._pool.self_tests_paused = True
            case "leak" | "error":
                for index in range(self._settings.workers):
                    self._pool.errand(index, Inject(fault, size)).result(ERRAND_SECONDS)
            case "hold-gil":
                self._pool.errand(worker, Inject(fault, size))  # its answer comes when the lock is free again
            case _ if fault not in faults.STICKY and fault not in faults.FROM_OUTSIDE:
                return self._pool.errand(worker, Inject(fault, size)).result(ERRAND_SECONDS)
        return 0

    def inject_at_start(self, names: tuple[str, ...]) -> None:
        """Have faults hold for every worker from its start."""
        for name in names:
            if name not in faults.STICKY:
                raise InvalidParameter("faults", f"must be of {', '.join(sorted(faults.STICKY))}, not {name!r}")
            self._sticky[name] = faults.DEFAULT_SIZE.get(name, 1.0)

    def clear_faults(self) -> None:
        """End every fault that holds until cleared."""
        self._sticky.clear()
        self._pool.self_tests_paused = False
        for record in self._pool.records():
            if record.state in ("idle", "busy", "testing"):
                self._pool.errand(record.index, Inject("clear", 0.0))
        self._pool.wake()

    def restart_workers(self) -> None:
        """Replace each worker after its job."""
        self._pool.restart_workers()

    # inside

    def _new_pool(self, location: ModelLocation) -> Pool:
        return Pool(
            self._settings,
            location,
            self._context,
            self._ledger,
            self._quarantine,
            lambda: tuple(self._sticky.items()),
        )

    def _admit(self) -> None:
        """Raise `Overloaded` rather than accept what cannot be answered in time; the lock is held."""
        predicted = self._pool.predicted_wait_seconds()
        retry_after = min(max(1.0, predicted), MAX_RETRY_AFTER_SECONDS)
        if self._in_system >= self._settings.max_queue:
            raise Overloaded(f"{self._in_system} recordings are waiting already; try again in a moment", retry_after)
        if predicted > self._settings.max_wait_seconds or self.queue_too_old:
            raise Overloaded(f"the wait for a worker is longer than {self._settings.max_wait_seconds:g} s", retry_after)

    def _left(self, _: Future[TrackResult]) -> None:
        with self._nothing_left:
            self._in_system -= 1
            if self._in_system == 0:
                self._nothing_left.notify_all()

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_SECONDS):
            self._turned_at = time.monotonic()
            try:
                for pool in (self._pool, self._candidate):
                    if pool is not None:
                        pool.watch()
            except Exception:  # the loop must turn; what failed shows in the workers
                logger.exception("watching the workers failed")


def _named(model: ModelIdentity | None) -> str:
    return "none" if model is None else f"{model.name} {model.version} {model.sha256[:12]}"
