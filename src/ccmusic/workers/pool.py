"""The workers of one model, and the queue before them."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing.context import BaseContext

from ccmusic.errors import CcmusicError, ModelFileNotFound
from ccmusic.genres import Taxonomy
from ccmusic.inference.result import ModelIdentity
from ccmusic.models.store import ModelLocation
from ccmusic.models.training_profile import Reference
from ccmusic.settings import Settings
from ccmusic.workers.channel import Inject, Ready, WorkerOptions
from ccmusic.workers.job_queue import JobQueue, Ticket
from ccmusic.workers.preparation import Preparation
from ccmusic.workers.quarantine import Quarantine
from ccmusic.workers.records import ModelStatus, RestartReason, SelfTestState, WorkerRecord, WorkerState
from ccmusic.workers.restart_log import RestartLog
from ccmusic.workers.worker_slot import WorkerSlot

READY = ("idle", "busy", "testing")
"""States of a worker that holds a proved model."""
SLOW_FACTOR = 4.0
SLOW_SECONDS = 0.05
"""A self-test is slow when it takes so many times the fastest one's time, and so much longer."""
SMOOTHING = 0.1
"""Weight of the last job in the running mean of their durations."""
TOGETHER_SECONDS = 0.2
"""Workers lost within so much time were lost to one cause."""
NOTICE_SECONDS = 0.05
"""Within so much time each keeper notices that its worker is lost."""
LATE_SECONDS = 0.5
"""Between two watches: longer means that this process itself got no processor, and nobody's silence counts."""


class Pool:
    """N places, each with a keeper.

    Parameters
    ----------
    settings : Settings
    location : ModelLocation
    context : BaseContext
    ledger : RestartLog
    quarantine : Quarantine
    faults : callable
        The faults that hold for workers that start now.
    """

    def __init__(
        self,
        settings: Settings,
        location: ModelLocation,
        context: BaseContext,
        ledger: RestartLog,
        quarantine: Quarantine,
        faults: Callable[[], tuple[tuple[str, float], ...]],
    ) -> None:
        self.settings = settings
        self.location = location
        self.caveat: str | None = None
        self._choice: str | None = None
        self._preparation = None if location.directory is not None else Preparation(self)
        self.context = context
        self.ledger = ledger
        self.quarantine = quarantine
        self.queue = JobQueue(settings.max_wait_seconds)
        self.closing = threading.Event()
        self.self_tests_paused = False
        self.load_failure: Exception | None = None
        self.model: ModelIdentity | None = None
        self.backend: str | None = None
        self.reference_mix: tuple[float, ...] | None = None
        self.taxonomies: tuple[Taxonomy, ...] = ()
        self.reference: Reference | None = None
        self._faults = faults
        self._lock = threading.Lock()
        self._records = [WorkerRecord(i, "starting", None, 0, 0) for i in range(settings.workers)]
        self._tested_at: dict[int, float] = {}
        self._idle_since_test: dict[int, float] = {}  # as if the test had been later by the time at work since
        self._busy_since: dict[int, float] = {}
        self._self_test: SelfTestState | None = None
        self._job_seconds: float | None = None
        self._watched_at = time.monotonic()
        self._losses: deque[tuple[float, int, Ticket | None]] = deque(maxlen=2 * settings.workers)
        self._keepers = [WorkerSlot(self, index) for index in range(settings.workers)]

    def start(self) -> None:
        """Start the workers, once there is a model directory for them; returns at once."""
        if self._preparation is not None:
            self._preparation.start()
            return
        for keeper in self._keepers:
            keeper.start()

    def close(self) -> None:
        """Let each worker end after its job; returns at once."""
        self.closing.set()
        for keeper in self._keepers:
            keeper.wake()

    def join(self, timeout_seconds: float) -> None:
        """Wait until the workers have ended; kill those that have not."""
        deadline = time.monotonic() + timeout_seconds
        if self._preparation is not None and self._preparation.ident is not None:
            self._preparation.join(max(0.0, deadline - time.monotonic()))
        started = [keeper for keeper in self._keepers if keeper.ident is not None]
        for keeper in started:
            keeper.join(max(0.0, deadline - time.monotonic()))
        for keeper in started:
            if keeper.is_alive() and (life := keeper.life) is not None:
                life.kill()
        for keeper in started:
            keeper.join(5.0)

    def options(self) -> WorkerOptions:
        """What a worker that starts now is told."""
        settings = self.settings
        return WorkerOptions(
            self.location,
            settings.decode_limits,
            settings.threads_per_worker,
            settings.worker_niceness,
            settings.fault_injection,
            self._faults(),
            settings.device,
        )

    # what it knows

    def record(self, index: int) -> WorkerRecord:
        """What is known of one worker."""
        with self._lock:
            return self._records[index]

    def records(self) -> tuple[WorkerRecord, ...]:
        """What is known of each worker, and its pulse."""
        with self._lock:
            records = list(self._records)
        for i, keeper in enumerate(self._keepers):
            life = keeper.life
            if life is None or records[i].pid != life.pid:
                continue
            try:
                records[i] = replace(
                    records[i],
                    stage=life.pulse.stage,
                    stage_seconds=round(life.pulse.stage_seconds, 3),
                    heartbeat_age_seconds=round(life.pulse.age_seconds, 3),
                    rss_bytes=life.rss_bytes,
                )
            except ValueError:
                continue  # it has just ended, and its memory was let go
        return tuple(records)

    @property
    def model_status(self) -> ModelStatus:
        """`error` when every worker's last load failed, `ready` once a worker has proved the model, else `loading`.

        Stays `ready` while lost workers are replaced: what is queued then is answered a moment later.
        """
        with self._lock:
            if all(record.state == "failed" for record in self._records):
                return "error"
            return "loading" if self.model is None else "ready"

    @property
    def load_error(self) -> str | None:
        """Why loading failed; None unless it failed."""
        with self._lock:
            return next((record.error for record in self._records if record.error is not None), None)

    @property
    def preparing(self) -> str | None:
        """What is being done to make a model directory; None when nothing is."""
        return None if self._preparation is None else self._preparation.stage

    @property
    def missing_file(self) -> bool:
        """Whether loading failed for want of a file."""
        return isinstance(self.load_failure, ModelFileNotFound)

    @property
    def n_ready(self) -> int:
        """Workers that hold a proved model."""
        with self._lock:
            return sum(record.state in READY for record in self._records)

    @property
    def n_busy(self) -> int:
        """Workers with a recording in hand."""
        with self._lock:
            return sum(record.state == "busy" for record in self._records)

    def others_ready(self, index: int) -> bool:
        """Whether every other worker is ready, so that this one may go."""
        with self._lock:
            return all(r.index == index or r.state in READY for r in self._records)

    def predicted_wait_seconds(self) -> float:
        """How long a recording that comes now will wait; 0 when nothing is known."""
        waiting = self.queue.n_waiting
        with self._lock:
            seconds = self._job_seconds or 0.0
        if waiting == 0:
            return 0.0
        return seconds * (waiting + 1) / max(1, self.n_ready)

    def self_test(self) -> SelfTestState | None:
        """The last answers to the golden clips; None before the first."""
        with self._lock:
            state = self._self_test
            if state is None:
                return None
            now = time.monotonic()
            ready = [r.index for r in self._records if r.state in READY and r.index in self._tested_at]
            ages = [now - self._tested_at[index] for index in ready]
            idle = [self._busy_since.get(index, now) - self._idle_since_test[index] for index in ready]
            return replace(state, age_seconds=max(ages, default=0.0), idle_age_seconds=max(idle, default=0.0))

    # what the preparation tells

    def preparing_failed(self, error: CcmusicError) -> None:
        """There is no model directory yet, and this is why."""
        for record in self.records():
            self.change(record.index, state="failed", error=error.sentence)
        self.load_failure = error

    def prepared(self, location: ModelLocation, caveat: str | None) -> None:
        """There is a model directory: the workers start."""
        self.location = location
        self._choice = self.caveat = caveat
        self.load_failure = None
        for record in self.records():
            self.change(record.index, state="starting", error=None)
        for keeper in self._keepers:
            if not self.closing.is_set():
                keeper.start()

    # what keepers tell

    def change(self, index: int, **changes: object) -> None:
        """Alter a worker's record."""
        with self._lock:
            before = self._records[index]
            self._records[index] = replace(before, **changes)  # type: ignore[arg-type]
            telling = "state" in changes and not (before.state in READY and changes["state"] in READY)
            if changes.get("state") == "busy":
                self._busy_since[index] = time.monotonic()
        if telling:
            self.ledger.event()

    def count_job(self, index: int) -> None:
        """A job has been answered; its worker is idle unless it has been given up."""
        with self._lock:
            record = self._records[index]
            state: WorkerState = "idle" if record.state == "busy" else record.state
            began = self._busy_since.pop(index, None)
            if began is not None and index in self._idle_since_test:
                self._idle_since_test[index] += time.monotonic() - began
            self._records[index] = replace(record, jobs=record.jobs + 1, state=state)

    def note_restart(self, index: int, reason: RestartReason, cause: str) -> None:
        """A worker is replaced."""
        with self._lock:
            self._records[index] = replace(self._records[index], restarts=self._records[index].restarts + 1)
        self.ledger.restart(index, reason, cause)

    def note_dump(self, index: int, pid: int, reason: RestartReason, cause: str, text: str | None) -> None:
        """A lost worker's stack."""
        self.ledger.dump(index, pid, reason, cause, text)

    def note_loss(self, index: int, ticket: Ticket | None) -> None:
        """A worker has ended by itself, over this job or none."""
        with self._lock:
            self._losses.append((time.monotonic(), index, ticket))

    def lost_with_others(self, index: int, ticket: Ticket, reason: RestartReason) -> bool:
        """Whether workers that had nothing to do with this job were lost at the same time: then it is not to blame.

        A worker killed from outside right after another tells nothing of the job that both had, one after the other:
        somebody kills workers.
        """
        self.closing.wait(NOTICE_SECONDS)
        horizon = time.monotonic() - TOGETHER_SECONDS
        with self._lock:
            return any(
                at > horizon and lost != index and (other is not ticket or reason == "killed")
                for at, lost, other in self._losses
            )

    def note_job_seconds(self, seconds: float) -> None:
        """How long a job took."""
        with self._lock:
            last = self._job_seconds
            self._job_seconds = seconds if last is None else last + SMOOTHING * (seconds - last)

    def proved(self, index: int, ready: Ready) -> None:
        """A worker has loaded the model and answered its golden clips rightly."""
        with self._lock:
            self.model = ready.model
            self.backend = ready.backend
            self.reference_mix = ready.reference_mix
            self.taxonomies = ready.taxonomies
            self.reference = ready.reference
            self.caveat = "; ".join(filter(None, (self._choice, ready.caveat))) or None
            self.load_failure = None
        self.note_self_test(index, ready.self_test_seconds, None)

    def note_self_test(self, index: int, seconds: float, cause: str | None) -> None:
        """A worker has answered the golden clips; wrongly if there is a cause."""
        now = time.monotonic()
        with self._lock:
            self._tested_at[index] = self._idle_since_test[index] = now
            self._busy_since.pop(index, None)
            last = self._self_test or SelfTestState(True, 0.0, seconds, seconds, 0)
            if cause is not None:
                self._self_test = replace(last, passed=False, age_seconds=0.0, failures=last.failures + 1)
            else:
                best = min(last.best_seconds, seconds)
                slow = seconds > SLOW_FACTOR * best and seconds > best + SLOW_SECONDS
                self._self_test = SelfTestState(True, 0.0, seconds, best, last.failures, last.slow + 1 if slow else 0)
        if cause is not None:
            self.ledger.event()

    def until_self_test(self, index: int, periods: float) -> float:
        """Seconds until this worker's last self-test is so many periods old."""
        with self._lock:
            due = self._tested_at.get(index, 0.0) + periods * self.settings.self_test_seconds
        return max(0.01, due - time.monotonic()) if not self.self_tests_paused else self.settings.self_test_seconds

    def self_test_due(self, index: int, periods: float) -> bool:
        """Whether this worker's last self-test is so many periods old."""
        if self.self_tests_paused:
            return False
        with self._lock:
            return time.monotonic() - self._tested_at.get(index, 0.0) >= periods * self.settings.self_test_seconds

    # what the supervisor's loop does

    def watch(self) -> None:
        """Look at every worker's heart, and at those who wait; called several times a second."""
        now = time.monotonic()
        late = now - self._watched_at > LATE_SECONDS
        self._watched_at = now
        self.queue.expire()
        if late:
            return
        for keeper in self._keepers:
            life = keeper.life
            if life is None or life.over:
                continue
            try:
                silent = life.silent_seconds(self.settings.heartbeat_seconds)
                stage = life.pulse.stage
            except ValueError:
                continue  # it has just ended, and its memory was let go
            if silent is not None:
                life.condemn("heartbeat", f"its heart has not beaten for {silent:.1f} seconds, in stage {stage}")

    def restart_workers(self) -> None:
        """Replace each worker after its job."""
        for keeper in self._keepers:
            keeper.retire_after_job = True
            keeper.wake()

    def wake(self) -> None:
        """End pauses."""
        for keeper in self._keepers:
            keeper.wake()

    def signal(self, index: int, number: signal.Signals) -> None:
        """Send a worker a signal, as somebody else might."""
        life = self._keepers[index].life
        if life is not None:
            life.kill(number)

    def errand(self, index: int, order: Inject) -> Future[int]:
        """Bring an order to one worker."""
        return self._keepers[index].send_on_errand(order)
