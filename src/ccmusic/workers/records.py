"""Records about the workers, all frozen. Health, metrics and page read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ccmusic.errors import DependencyUnavailable, ModelReplaced

WorkerState = Literal["starting", "idle", "busy", "testing", "failed", "retiring"]
WORKER_STATES: tuple[WorkerState, ...] = get_args(WorkerState)
READY_STATES: tuple[WorkerState, ...] = ("idle", "busy", "testing")
"""States of a worker that holds a verified model."""

RestartReason = Literal[
    "killed",
    "crashed",
    "heartbeat",
    "deadline",
    "self_test",
    "non_finite",
    "memory_growth",
    "out_of_memory",
    "load",
    "bound",
    "malformed",
]
RESTART_REASONS: tuple[RestartReason, ...] = get_args(RestartReason)
"""Why a worker was replaced: it was killed from outside; it crashed; it had no heartbeat; a job took too long; a
self-test failed; the network's output was NaN or infinite; its memory grew too much; it had not enough memory; its
model did not load; its recording reached the bound on processor time; its message was none that a worker sends."""

ModelStatus = Literal["loading", "ready", "error"]

LoadErrorCode = Literal["load_failed", "dependency_missing", "model_replaced"]
"""Why a model could not be loaded, for programs: its files, a library, or because it is not the model in use."""


def load_error_code(error: Exception | None) -> LoadErrorCode:
    """The code of the error of a failed load."""
    match error:
        case DependencyUnavailable():
            return "dependency_missing"
        case ModelReplaced():
            return "model_replaced"
    return "load_failed"


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """One worker.

    Attributes
    ----------
    index : int
        The number of its slot; processes come and go in it.
    restarts, jobs : int
        Processes replaced in this slot, and recordings answered in it.
    error : str or None
        Why the last process in this slot could not load its model.
    error_code : str or None
        The same for programs.
    stage : str or None
        What the process is doing, one of `heartbeat.STAGES`.
    stage_seconds : float or None
        How long it has been in this stage.
    heartbeat_age_seconds : float or None
        Time since its last heartbeat, in which the front process ran.
    rss_bytes : int or None
        Resident memory.
    """

    index: int
    state: WorkerState
    pid: int | None
    restarts: int
    jobs: int
    error: str | None = None
    stage: str | None = None
    stage_seconds: float | None = None
    heartbeat_age_seconds: float | None = None
    rss_bytes: int | None = None
    error_code: LoadErrorCode | None = None


@dataclass(frozen=True, slots=True)
class QueueState:
    """Recordings that wait for a worker or are processed by one."""

    waiting: int = 0
    running: int = 0
    oldest_wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SelfTestState:
    """The self-tests of the workers: each classifies the golden clips again and again.

    Attributes
    ----------
    passed : bool
        Whether the last self-test of any worker had the right answers.
    age_seconds : float
        Time since the last self-test of each ready worker; the longest of these.
    idle_age_seconds : float
        The same, without the time that the worker was busy: a busy worker need not be tested.
    seconds, best_seconds : float
        Duration of the last self-test, and of the fastest one so far.
    failures : int
        Wrong or missing answers since the start.
    slow : int
        How many of the last self-tests in a row took much longer than the fastest.
    """

    passed: bool
    age_seconds: float
    seconds: float
    best_seconds: float
    failures: int
    slow: int = 0
    idle_age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Restart:
    """One replacement of a worker, at time `at` on the clock of the front process.

    Attributes
    ----------
    job : int or None
        The number of the job whose recording may be the cause; None if no recording is.
    client : str
        Who sent that recording.
    """

    worker: int
    reason: RestartReason
    cause: str
    at: float
    job: int | None = None
    client: str = ""


@dataclass(frozen=True, slots=True)
class StackDump:
    """The stack of each thread of a worker when it was marked failed or crashed."""

    id: int
    worker: int
    pid: int
    reason: RestartReason
    cause: str
    text: str


@dataclass(frozen=True, slots=True)
class HelperState:
    """A process or thread that serves the workers.

    Attributes
    ----------
    name : str
    cause : str or None
        Why it does not do its work; None if it does.
    seconds : float
        For how long.
    replacing : bool
        Whether another one is starting in its place.
    turn_age_seconds : float
        Time since the last turn of the thread that watches it.
    """

    name: str
    cause: str | None = None
    seconds: float = 0.0
    replacing: bool = False
    turn_age_seconds: float = 0.0
