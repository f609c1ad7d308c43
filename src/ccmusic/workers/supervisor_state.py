"""Everything that the supervisor knows at one moment, in one record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ccmusic.health.clock import CLOCK
from ccmusic.models.store import ModelLocation
from ccmusic.workers.records import (
    READY_STATES,
    HelperState,
    ModelStatus,
    QueueState,
    Restart,
    RestartReason,
    SelfTestState,
    StackDump,
    WorkerRecord,
)
from ccmusic.workers.served_model import ServedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorState:
    """The workers, their model, their queue and their restarts, read once for each sampling of health.

    All facts about the model and its workers come from one model, also while another model takes over.

    Attributes
    ----------
    location : ModelLocation or None
        Where the files of the model are; None before the first reading.
    served : ServedModel or None
        The model that the workers last verified; None before the first.
    workers : tuple of WorkerRecord
    load_failure : Exception or None
        Why the last load failed; None unless it failed.
    preparing : str or None
        The stage of making a model directory from a checkpoint; None if none is being made.
    preparation_caveat : str or None
        Why the preparation made another model or precision than the configured one.
    self_test : SelfTestState or None
        The last self-tests with the golden clips; None before the first.
    queue : QueueState
    queue_overdue : bool
        Whether a recording waits, or was refused moments ago, because it waited longer than is allowed.
    restart_counts : mapping of str to int
        Replaced workers since the start, by reason.
    restarts : tuple of Restart
        The last restarts, oldest first.
    stack_dumps : tuple of StackDump
        The last stack dumps, oldest first.
    n_quarantined : int
        Recordings that are refused because they ended two workers.
    n_suspect_clients : int
        Clients whose recordings are tried one at a time, because several of them ended workers.
    answered_at : float
        When a recording was last answered, on the clock of the front process.
    loop_age_seconds : float
        Time since the last turn of the supervisor's loop.
    fork_server : HelperState
        What starts the worker processes.
    stuck : tuple of str
        Threads of this process that cannot go on and cannot be replaced, with the cause.
    read_at : float
        When this was read, on the clock of this process.
    """

    location: ModelLocation | None = None
    served: ServedModel | None = None
    workers: tuple[WorkerRecord, ...] = ()
    load_failure: Exception | None = None
    preparing: str | None = None
    preparation_caveat: str | None = None
    self_test: SelfTestState | None = None
    queue: QueueState = field(default_factory=QueueState)
    queue_overdue: bool = False
    restart_counts: Mapping[RestartReason, int] = field(default_factory=dict)
    restarts: tuple[Restart, ...] = ()
    stack_dumps: tuple[StackDump, ...] = ()
    n_quarantined: int = 0
    n_suspect_clients: int = 0
    answered_at: float = float("-inf")
    loop_age_seconds: float = 0.0
    fork_server: HelperState = field(default_factory=lambda: HelperState("fork server"))
    stuck: tuple[str, ...] = ()
    read_at: float = field(default_factory=CLOCK.now)

    @property
    def model_status(self) -> ModelStatus:
        """`model_status_of` these workers."""
        return model_status_of(self.workers, self.served)

    @property
    def load_error(self) -> str | None:
        """Why the last load failed, as text; None unless it failed."""
        return load_error_of(self.workers)

    @property
    def n_ready(self) -> int:
        """Number of workers that hold a verified model."""
        return sum(worker.state in READY_STATES for worker in self.workers)

    @property
    def caveat(self) -> str | None:
        """Why something else is served than the configuration asks for; None if nothing else is."""
        served = None if self.served is None else self.served.caveat
        return "; ".join(filter(None, (self.preparation_caveat, served))) or None


def model_status_of(workers: Sequence[WorkerRecord], served: ServedModel | None) -> ModelStatus:
    """`error` if the last load of every worker failed, `ready` once a worker has verified the model, else `loading`.

    The status stays `ready` while lost workers are replaced: queued recordings are answered a moment later.
    """
    if workers and all(worker.state == "failed" for worker in workers):
        return "error"
    return "loading" if served is None else "ready"


def load_error_of(workers: Sequence[WorkerRecord]) -> str | None:
    """The first error of a load among these workers; None if there is none."""
    return next((worker.error for worker in workers if worker.error is not None), None)
