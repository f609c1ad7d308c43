"""The state of this service at one moment. Probes, metrics and page read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ccmusic.health import DiskUse, Health, HealthSnapshot
from ccmusic.health.clock import CLOCK
from ccmusic.monitoring.drift_watch import DriftState
from ccmusic.monitoring.page_state import PageState
from ccmusic.version import SERVICE, __version__
from ccmusic.workers.process_info import rss_bytes
from ccmusic.workers.records import Restart, RestartReason, StackDump
from ccmusic.workers.served_model import ServedModel
from ccmusic.workers.supervisor_state import SupervisorState

STACK_DUMP_PATH = "/debug/stack-dumps"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSnapshot(HealthSnapshot):
    """A `HealthSnapshot` with the state that its checks have seen.

    Attributes
    ----------
    supervisor : SupervisorState
        The workers, their model and their queue.
    loop_lag_seconds : float
        Delay of the HTTP event loop.
    stopped_seconds : float
        How long the front process did not run since its start; see `ccmusic.health.clock`.
    front_rss_bytes : int or None
        Resident memory of the front process.
    disk : DiskUse or None
        The file system of temporary files, as of its last check.
    drift : DriftState
        Whether the recordings resemble those that the model was trained on.
    page : PageState
        What the web page reports about itself.
    """

    supervisor: SupervisorState = field(default_factory=SupervisorState)
    loop_lag_seconds: float = 0.0
    stopped_seconds: float = 0.0
    front_rss_bytes: int | None = None
    disk: DiskUse | None = None
    drift: DriftState = field(default_factory=DriftState)
    page: PageState = field(default_factory=PageState)

    @property
    def served(self) -> ServedModel | None:
        """The model in use; None before a worker has verified one."""
        return self.supervisor.served


class ServiceHealth(Health):
    """Reads the supervisor once for each sampling. All checks of that sampling and the snapshot use this reading.

    Parameters
    ----------
    started_at : float or None
        When the service started, on the monotonic clock; now by default.
    """

    def __init__(self, started_at: float | None = None) -> None:
        super().__init__(SERVICE, __version__, started_at=started_at, model_status=lambda: self.state.model_status)
        self._read_supervisor: Callable[[], SupervisorState] = SupervisorState
        self._loop_lag: Callable[[], float] = lambda: 0.0
        self._disk: Callable[[], DiskUse | None] = lambda: None
        self._drift: Callable[[], DriftState] = DriftState
        self._page: Callable[[], PageState] = PageState
        self._state: SupervisorState | None = None

    def watch(
        self,
        supervisor: Callable[[], SupervisorState],
        loop_lag: Callable[[], float],
        disk: Callable[[], DiskUse | None],
        drift: Callable[[], DriftState],
        page: Callable[[], PageState] = PageState,
    ) -> None:
        """Set the functions that read the state of each part; before the first sampling."""
        self._read_supervisor = supervisor
        self._loop_lag = loop_lag
        self._disk = disk
        self._drift = drift
        self._page = page

    def begin_sampling(self) -> None:
        """Read the supervisor. If this raises, each check that needs the state raises too, and does not pass."""
        self._state = None
        self._state = self._read_supervisor()

    @property
    def state(self) -> SupervisorState:
        """The supervisor's state as of the present or the last sampling."""
        return self._state or self._read_supervisor()

    def make_snapshot(self, **fields: Any) -> ServiceSnapshot:
        """A `ServiceSnapshot`; its ``details`` are additional fields of ``/health``."""
        state = self.state
        return ServiceSnapshot(
            **(fields | {"details": _details(state)}),
            supervisor=state,
            loop_lag_seconds=self._loop_lag(),
            stopped_seconds=CLOCK.stopped_seconds,
            front_rss_bytes=rss_bytes("self"),
            disk=self._disk(),
            drift=self._drift(),
            page=self._page(),
        )

    def snapshot(self) -> ServiceSnapshot:
        """The last sample. If it is too old, a failing check of the snapshot says so."""
        snapshot = super().snapshot()
        assert isinstance(snapshot, ServiceSnapshot)  # noqa: S101  made by make_snapshot
        return snapshot


def _details(state: SupervisorState) -> dict[str, Any]:
    """Additional fields of ``/health``."""
    return {
        **({} if state.served is None else {"model": asdict(state.served.identity)}),
        "workers": [asdict(record) for record in state.workers],
        "restarts": _restarts_json(state.restart_counts, state.restarts),
        "queue": _rounded(asdict(state.queue)),
        "self_test": None if state.self_test is None else _rounded(asdict(state.self_test)),
        "quarantined": state.n_quarantined,
        "stack_dumps": [_dump_json(dump) for dump in state.stack_dumps],
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
