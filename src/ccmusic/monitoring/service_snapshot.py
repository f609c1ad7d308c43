"""The state of this service at one moment: what every probe, the metrics and the page read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ccmusic.genres import Taxonomy
from ccmusic.health import DiskUse, Health, HealthSnapshot
from ccmusic.inference.result import ModelIdentity
from ccmusic.monitoring.drift_watch import DriftState
from ccmusic.version import SERVICE, __version__
from ccmusic.workers.process_info import rss_bytes
from ccmusic.workers.records import QueueState, Restart, RestartReason, SelfTestState, StackDump, WorkerRecord
from ccmusic.workers.supervisor import Supervisor

STACK_DUMP_PATH = "/debug/stack-dumps"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSnapshot(HealthSnapshot):
    """A `HealthSnapshot` that knows the workers.

    Attributes
    ----------
    taxonomies : tuple of Taxonomy
        What the model answers in, its own labels' first; empty before one is proved.
    preparing : str or None
        What is being done to a checkpoint before workers can start.
    caveat : str or None
        Why another model or precision serves than was asked for.
    restarts : mapping of str to int
        Replaced workers by reason since the start; every reason is there.
    quarantined : int
        Recordings that are refused because they ended two workers.
    loop_lag_seconds : float
        How late the HTTP loop is.
    front_rss_bytes : int or None
        Resident memory of the front process.
    disk : DiskUse or None
        Of the file system of temporary files, as last looked at.
    drift : DriftState
        Whether the recordings are like those that the model was made with.
    """

    workers: tuple[WorkerRecord, ...] = ()
    model: ModelIdentity | None = None
    taxonomies: tuple[Taxonomy, ...] = ()
    backend: str | None = None
    preparing: str | None = None
    caveat: str | None = None
    restarts: Mapping[RestartReason, int] = field(default_factory=dict)
    queue: QueueState = field(default_factory=QueueState)
    self_test: SelfTestState | None = None
    quarantined: int = 0
    loop_lag_seconds: float = 0.0
    front_rss_bytes: int | None = None
    disk: DiskUse | None = None
    drift: DriftState = field(default_factory=DriftState)


class ServiceHealth(Health):
    """Samples the checks and the workers together.

    Parameters
    ----------
    started_at : float or None
        When the service began, on the monotonic clock; now by default.
    """

    def __init__(self, started_at: float | None = None) -> None:
        super().__init__(SERVICE, __version__, started_at=started_at, model_status=self._status_of_model)
        self._supervisor: Supervisor | None = None
        self._loop_lag: Callable[[], float] = lambda: 0.0
        self._disk: Callable[[], DiskUse | None] = lambda: None
        self._drift: Callable[[], DriftState] = DriftState

    def watch(
        self,
        supervisor: Supervisor,
        loop_lag: Callable[[], float],
        disk: Callable[[], DiskUse | None],
        drift: Callable[[], DriftState] = DriftState,
    ) -> None:
        """Say whose state it is; before the first sample."""
        self._supervisor = supervisor
        self._loop_lag = loop_lag
        self._disk = disk
        self._drift = drift

    def _status_of_model(self) -> str:
        return "loading" if self._supervisor is None else self._supervisor.model_status

    def make_snapshot(self, **fields: Any) -> ServiceSnapshot:
        """A `ServiceSnapshot`, whose ``details`` are the further fields of ``/health``."""
        supervisor = self._supervisor
        if supervisor is None:
            return ServiceSnapshot(**fields)
        snapshot = ServiceSnapshot(
            **fields,
            workers=supervisor.workers,
            model=supervisor.model,
            taxonomies=supervisor.taxonomies,
            backend=supervisor.backend,
            preparing=supervisor.preparing,
            caveat=supervisor.caveat,
            restarts=supervisor.restart_counts,
            queue=supervisor.queue,
            self_test=supervisor.self_test,
            quarantined=supervisor.n_quarantined,
            loop_lag_seconds=self._loop_lag(),
            front_rss_bytes=rss_bytes("self"),
            disk=self._disk(),
            drift=self._drift(),
        )
        return replace(snapshot, details=_details(snapshot, supervisor))

    def snapshot(self) -> ServiceSnapshot:
        """The last sample; one that says so when it is too old to be believed."""
        snapshot = super().snapshot()
        assert isinstance(snapshot, ServiceSnapshot)  # noqa: S101  what make_snapshot makes
        return snapshot


def _details(snapshot: ServiceSnapshot, supervisor: Supervisor) -> dict[str, Any]:
    """The further fields of ``/health``."""
    return {
        **({} if snapshot.model is None else {"model": asdict(snapshot.model)}),
        "workers": [asdict(record) for record in snapshot.workers],
        "restarts": _restarts_json(snapshot.restarts, supervisor.restarts),
        "queue": _rounded(asdict(snapshot.queue)),
        "self_test": None if snapshot.self_test is None else _rounded(asdict(snapshot.self_test)),
        "quarantined": snapshot.quarantined,
        "stack_dumps": [_dump_json(dump) for dump in supervisor.stack_dumps],
    }


def _restarts_json(counts: Mapping[RestartReason, int], restarts: tuple[Restart, ...]) -> dict[str, Any]:
    body: dict[str, Any] = {"total": sum(counts.values()), "by_reason": {k: n for k, n in counts.items() if n}}
    if restarts:
        last = restarts[-1]
        body["last"] = {"worker": last.worker, "reason": last.reason, "cause": last.cause}
    return body


def _dump_json(dump: StackDump) -> dict[str, Any]:
    return {
        "id": dump.id,
        "worker": dump.worker,
        "pid": dump.pid,
        "reason": dump.reason,
        "href": f"{STACK_DUMP_PATH}/{dump.id}",
    }


def _rounded(body: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in body.items()}
