"""What is known of the workers, as plain frozen records: health, metrics and page read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

WorkerState = Literal["starting", "idle", "busy", "testing", "failed", "retiring"]
WORKER_STATES: tuple[WorkerState, ...] = get_args(WorkerState)

RestartReason = Literal[
    "killed", "crashed", "heartbeat", "deadline", "self_test", "non_finite", "memory_growth", "out_of_memory", "load"
]
RESTART_REASONS: tuple[RestartReason, ...] = get_args(RestartReason)
"""Why a worker was replaced: killed or crashed from outside our will; no heartbeat; a job or a self-test past its
deadline or with a wrong answer; NaN or infinity; grown too large; out of memory; its model did not load."""

ModelStatus = Literal["loading", "ready", "error"]


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """One worker.

    Attributes
    ----------
    index : int
        Its place in the pool; processes come and go in it.
    restarts, jobs : int
        Processes lost in this place, and recordings answered in it.
    stage : str or None
        What the process is doing, from `pulse.STAGES`, for `stage_seconds`.
    heartbeat_age_seconds : float or None
        Since the process last showed that its interpreter runs.
    rss_bytes : int or None
        Resident memory.
    error : str or None
        Why the last process in this place could not load its model.
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


@dataclass(frozen=True, slots=True)
class QueueState:
    """The line before the workers."""

    waiting: int = 0
    running: int = 0
    oldest_wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SelfTestState:
    """The golden clips, asked of every worker again and again.

    Attributes
    ----------
    passed : bool
        Whether the last one was right.
    age_seconds : float
        Of the oldest last answer among the workers that are ready.
    idle_age_seconds : float
        The same without the time spent at work: a busy worker need not be tested.
    seconds, best_seconds : float
        How long the last took, and the fastest so far on this machine.
    failures : int
        Wrong or missing answers since the start.
    slow : int
        How many in a row have now taken far longer than the fastest.
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
    """One replacement of a worker; `at` is on the monotonic clock."""

    worker: int
    reason: RestartReason
    cause: str
    at: float


@dataclass(frozen=True, slots=True)
class StackDump:
    """Where every thread of a worker stood when it was given up."""

    id: int
    worker: int
    pid: int
    reason: RestartReason
    cause: str
    text: str
