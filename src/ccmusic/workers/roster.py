"""What is known about the workers of one model. Worker slots and the preparation write it; the pool reads it.

All methods are thread-safe.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace

from ccmusic.errors import CcmusicError, ModelError, ModelReplaced
from ccmusic.health.clock import CLOCK
from ccmusic.models.store import ModelLocation
from ccmusic.settings import Settings
from ccmusic.workers.channel import Ready
from ccmusic.workers.job_queue import Ticket
from ccmusic.workers.model_files import ModelFiles
from ccmusic.workers.records import (
    READY_STATES,
    ModelStatus,
    RestartReason,
    SelfTestState,
    WorkerRecord,
    WorkerState,
    load_error_code,
)
from ccmusic.workers.restart_log import RestartLog
from ccmusic.workers.served_model import WHAT_TO_DO, ServedModel
from ccmusic.workers.supervisor_state import SupervisorState, load_error_of, model_status_of

SLOW_FACTOR = 4.0
SLOW_SECONDS = 0.05
"""A self-test is slow if it takes `SLOW_FACTOR` times as long as the fastest one, and `SLOW_SECONDS` longer."""
SMOOTHING = 0.1
"""Weight of the last job in the running mean of job durations."""
TOGETHER_SECONDS = 0.2
"""Workers that are lost within this time have a common cause."""
NOTICE_SECONDS = 0.05
"""Within this time, each slot notices that its worker is lost."""


class Roster:
    """The records of the workers of one model.

    Parameters
    ----------
    settings : Settings
    location : ModelLocation
    restart_log : RestartLog

    Attributes
    ----------
    closing : threading.Event
        Set when the workers must end.
    self_tests_paused : bool
        Whether the fault `pause-self-test` is active.
    """

    def __init__(self, settings: Settings, location: ModelLocation, restart_log: RestartLog) -> None:
        self.settings = settings
        self.restart_log = restart_log
        self.closing = threading.Event()
        self.self_tests_paused = False
        self._lock = threading.Lock()
        self._location = location
        self._served: ServedModel | None = None
        self._files = ModelFiles()
        self._load_failure: Exception | None = None
        self._preparation_caveat: str | None = None
        self._records = [WorkerRecord(i, "starting", None, 0, 0) for i in range(settings.workers)]
        self._tested_at: dict[int, float] = {}
        self._idle_since_test: dict[int, float] = {}  # time of the last self-test plus the working time since then
        self._busy_since: dict[int, float] = {}
        self._self_test: SelfTestState | None = None
        self._job_seconds: float | None = None
        self._answered_at = float("-inf")
        self._losses: deque[tuple[float, int, Ticket | None]] = deque(maxlen=2 * settings.workers)

    # read

    def state(self) -> SupervisorState:
        """The part of `SupervisorState` that this roster knows, read under one lock."""
        with self._lock:
            return SupervisorState(
                location=self._location,
                served=self._served,
                workers=tuple(self._records),
                load_failure=self._load_failure,
                preparation_caveat=self._preparation_caveat,
                self_test=self._self_test_state(),
                answered_at=self._answered_at,
            )

    @property
    def location(self) -> ModelLocation:
        """Where the model's files are."""
        return self._location

    @property
    def served(self) -> ServedModel | None:
        """The model that every worker must hold: the first that one of them verified; None before that."""
        return self._served

    @property
    def load_failure(self) -> Exception | None:
        """Why the last load failed; None unless it failed."""
        return self._load_failure

    def record(self, index: int) -> WorkerRecord:
        """The record of one worker."""
        with self._lock:
            return self._records[index]

    @property
    def model_status(self) -> ModelStatus:
        """The status of the model; see `model_status_of`."""
        with self._lock:
            return model_status_of(self._records, self._served)

    @property
    def load_error(self) -> str | None:
        """Why the last load failed, as text; None unless it failed."""
        with self._lock:
            return load_error_of(self._records)

    @property
    def n_ready(self) -> int:
        """Number of workers that hold a verified model."""
        with self._lock:
            return sum(record.state in READY_STATES for record in self._records)

    def others_ready(self, index: int) -> bool:
        """Whether every other worker is ready, so that this one can be replaced."""
        with self._lock:
            return all(r.index == index or r.state in READY_STATES for r in self._records)

    def others_can_answer(self, index: int) -> bool:
        """Whether another worker is ready while this one may be lost, or there is no other to wait for."""
        with self._lock:
            others = [record.state for record in self._records if record.index != index]
        return any(state in READY_STATES for state in others) or all(state == "failed" for state in others)

    def predicted_wait_seconds(self, n_waiting: int) -> float:
        """How long a new recording will wait behind `n_waiting` others; 0 if the duration of jobs is not known yet."""
        with self._lock:
            seconds = self._job_seconds or 0.0
        return 0.0 if n_waiting == 0 else seconds * (n_waiting + 1) / max(1, self.n_ready)

    def _self_test_state(self) -> SelfTestState | None:
        if self._self_test is None:
            return None
        now = CLOCK.now()
        ready = [r.index for r in self._records if r.state in READY_STATES and r.index in self._tested_at]
        ages = [now - self._tested_at[index] for index in ready]
        idle = [self._busy_since.get(index, now) - self._idle_since_test[index] for index in ready]
        return replace(self._self_test, age_seconds=max(ages, default=0.0), idle_age_seconds=max(idle, default=0.0))

    def disk_holds_served(self) -> bool:
        """Whether the files hold the model in use, so that a new worker would not be refused. Reads them."""
        location, served = self._location, self._served
        if served is None or location.directory is None:
            return True
        try:
            return self._files.difference(location, served) is None
        except (OSError, ModelError):
            return False

    # written by the preparation

    def note_preparation_failure(self, error: CcmusicError) -> None:
        """There is no model directory yet, because of this error."""
        with self._lock:
            self._load_failure = error
        for index in range(len(self._records)):
            self.change(index, state="failed", error=error.sentence)

    def note_prepared(self, location: ModelLocation, caveat: str | None) -> None:
        """There is a model directory now, and the workers can start."""
        with self._lock:
            self._location = location
            self._preparation_caveat = caveat
            self._load_failure = None
        for index in range(len(self._records)):
            self.change(index, state="starting", error=None)

    # written by the slots

    def change(self, index: int, **changes: object) -> None:
        """Change fields of a worker's record."""
        with self._lock:
            before = self._records[index]
            self._records[index] = replace(before, **changes)  # type: ignore[arg-type]
            is_event = "state" in changes and not (before.state in READY_STATES and changes["state"] in READY_STATES)
            if changes.get("state") == "busy":
                self._busy_since[index] = CLOCK.now()
        if is_event:
            self.restart_log.notify()

    def note_loaded(self, index: int, ready: Ready) -> None:
        """A worker has loaded the model and passed its first self-test.

        The first model binds the roster: no worker with another one may answer, whatever happens to the files. Only the
        model change makes another roster.

        Raises
        ------
        ModelReplaced
            It is not the model that the others hold.
        """
        found = ready.served
        with self._lock:
            served = self._served = self._served or found
            if difference := served.difference(found):
                raise ModelReplaced(
                    f"a new worker loaded {found.title} from {self._location.configured}, but the model in use is "
                    f"{served.title} (different: {', '.join(difference)}), so it is refused: {WHAT_TO_DO}"
                )
            self._load_failure = None
            self._records[index] = replace(self._records[index], error=None, error_code=None)
        self.note_self_test(index, ready.self_test_seconds, None)

    def note_load_failure(self, index: int, error: CcmusicError) -> None:
        """A worker could not load the model."""
        with self._lock:
            self._load_failure = error
        self.change(index, state="failed", error=error.sentence, error_code=load_error_code(error), pid=None)

    def note_job_done(self, index: int) -> None:
        """A worker has answered a job. It is idle now, unless it was marked failed meanwhile."""
        with self._lock:
            record = self._records[index]
            state: WorkerState = "idle" if record.state == "busy" else record.state
            began = self._busy_since.pop(index, None)
            if began is not None and index in self._idle_since_test:
                self._idle_since_test[index] += CLOCK.now() - began
            self._records[index] = replace(record, jobs=record.jobs + 1, state=state)

    def note_job_seconds(self, seconds: float) -> None:
        """A recording has been answered, which took this long."""
        with self._lock:
            self._answered_at = CLOCK.now()
            last = self._job_seconds
            self._job_seconds = seconds if last is None else last + SMOOTHING * (seconds - last)

    def note_restart(self, index: int, reason: RestartReason, cause: str, ticket: Ticket | None = None) -> None:
        """A worker is being replaced; the recording of `ticket` may be the cause."""
        with self._lock:
            self._records[index] = replace(self._records[index], restarts=self._records[index].restarts + 1)
        job, client = (None, "") if ticket is None else (ticket.number, ticket.job.client)
        self.restart_log.record_restart(index, reason, cause, job, client)

    def note_loss(self, index: int, ticket: Ticket | None) -> None:
        """A worker process has ended by itself, with this job or with none."""
        with self._lock:
            self._losses.append((CLOCK.now(), index, ticket))

    def lost_with_others(self, index: int, ticket: Ticket, reason: RestartReason) -> bool:
        """Whether workers without this job were lost at the same time: then this job is not the cause.

        If a worker is killed from outside right after another one, the job that both had one after the other is not
        the cause either: something outside kills workers.
        """
        self.closing.wait(NOTICE_SECONDS)
        horizon = CLOCK.now() - TOGETHER_SECONDS
        with self._lock:
            return any(
                at > horizon and lost != index and (other is not ticket or reason == "killed")
                for at, lost, other in self._losses
            )

    def note_self_test(self, index: int, seconds: float, cause: str | None) -> None:
        """A worker has answered the golden clips; if there is a cause, the answer was wrong."""
        now = CLOCK.now()
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
            self.restart_log.notify()

    def until_self_test(self, index: int, periods: float) -> float:
        """Seconds until this worker's last self-test is `periods` self-test periods old."""
        period = self.settings.self_test_seconds
        if self.self_tests_paused:
            return period
        with self._lock:
            due = self._tested_at.get(index, 0.0) + periods * period
        return max(0.01, due - CLOCK.now())

    def self_test_due(self, index: int, periods: float) -> bool:
        """Whether this worker's last self-test is `periods` self-test periods old."""
        if self.self_tests_paused:
            return False
        with self._lock:
            return CLOCK.now() - self._tested_at.get(index, 0.0) >= periods * self.settings.self_test_seconds
