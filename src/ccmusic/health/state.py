"""One snapshot of the service's state, sampled by a thread of its own; a probe only reads it.

The texts are the contract's (section 3): other people's probes and alerts match on them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ccmusic import __version__
from ccmusic.inference.result import ModelIdentity
from ccmusic.workers.supervisor import ModelStatus, Supervisor, WorkerRecord

logger = logging.getLogger(__name__)

SERVICE = "ccmusic-database"
PERIOD_SECONDS = 0.5
STALE_SECONDS = 5.0
"""A snapshot older than this is no longer believed: the sampling itself has stopped."""


@dataclass(frozen=True, slots=True)
class HealthSnapshot:
    """The state of the service at one moment.

    Attributes
    ----------
    message : str or None
        What is wrong, in the contract's words; None when nothing is.
    uptime_seconds : float
        As of the sampling.
    """

    model_status: ModelStatus
    message: str | None
    uptime_seconds: float
    workers: tuple[WorkerRecord, ...] = ()
    model: ModelIdentity | None = None
    sampled_at: float = field(default_factory=time.monotonic)

    @property
    def healthy(self) -> bool:
        """Whether everything that was promised is true."""
        return self.message is None

    def as_json(self) -> dict[str, Any]:
        """Body of ``GET /health``."""
        body: dict[str, Any] = {"status": "ok" if self.healthy else "error"}
        if self.message is not None:
            body["message"] = self.message
        body |= {
            "timestamp": int(time.time()),
            "service": SERVICE,
            "version": __version__,
            "model_status": self.model_status,
            "uptime_seconds": round(self.uptime_seconds, 3),
        }
        if self.model is not None:
            body["model"] = {"name": self.model.name, "version": self.model.version, "sha256": self.model.sha256}
        return body


class Health:
    """Samples the service's state into a snapshot.

    Parameters
    ----------
    supervisor : Supervisor
    model_missing : callable
        Gives the path, as configured, of a model file that is not on disk, or None.
    started_at : float
        When the service began, on the monotonic clock.
    """

    def __init__(self, supervisor: Supervisor, model_missing: Callable[[], str | None], started_at: float) -> None:
        self._supervisor = supervisor
        self._model_missing = model_missing
        self._started_at = started_at
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sample_forever, name="ccmusic-health", daemon=True)
        self._snapshot = HealthSnapshot("loading", "Model is still loading...", 0.0)

    def start(self) -> None:
        """Take a first sample now, and go on in the background."""
        self._snapshot = self._sample()
        self._thread.start()

    def stop(self) -> None:
        """End the sampling."""
        self._stopping.set()
        self._thread.join(2 * PERIOD_SECONDS)

    def snapshot(self) -> HealthSnapshot:
        """The last sample; one that says so when it is too old to be believed."""
        snapshot = self._snapshot
        age = time.monotonic() - snapshot.sampled_at
        if age <= STALE_SECONDS:
            return snapshot
        return HealthSnapshot(
            snapshot.model_status,
            f"Health check failed: sampling: no sample for {age:.0f} seconds",
            snapshot.uptime_seconds + age,
            snapshot.workers,
            snapshot.model,
        )

    def _sample_forever(self) -> None:
        while not self._stopping.wait(PERIOD_SECONDS):
            self._snapshot = self._sample()

    def _sample(self) -> HealthSnapshot:
        status = self._supervisor.model_status
        workers = self._supervisor.workers
        try:
            message = self._message(status, workers)
        except Exception as error:  # a check that cannot be made has not passed
            logger.exception("a health check raised")
            message = f"Health check failed: {error}"
        return HealthSnapshot(status, message, time.monotonic() - self._started_at, workers, self._supervisor.model)

    def _message(self, status: ModelStatus, workers: tuple[WorkerRecord, ...]) -> str | None:
        if (missing := self._model_missing()) is not None:
            return f"Model file not found: {missing}"
        if status == "loading":
            return "Model is still loading..."
        if status == "error":
            return f"Model loading failed: {self._supervisor.load_error}"
        if not any(worker.state in ("idle", "busy") for worker in workers):
            return "Health check failed: workers: none is running with a verified model; they are being replaced"
        return None
