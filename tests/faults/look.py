"""The state that the service reports, and the signs of faults in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

from faults.client import Answer


class Look:
    """The state that the service reports at one moment; each address is read at most once."""

    def __init__(self, ask: Callable[[str], Answer | None]) -> None:
        self._ask = ask

    @cached_property
    def health(self) -> Answer | None:
        """The answer of `GET /health`; None if there was none. The other properties are alike."""
        return self._ask("/health")

    @cached_property
    def ready(self) -> Answer | None:
        return self._ask("/readyz?verbose")

    @cached_property
    def live(self) -> Answer | None:
        return self._ask("/livez?verbose")

    @cached_property
    def metrics(self) -> Answer | None:
        return self._ask("/metrics")

    @property
    def body(self) -> dict[str, Any]:
        """The body of /health; empty if there was no answer."""
        return {} if self.health is None else self.health.json

    def check(self, name: str) -> tuple[str, str]:
        """Status and cause of a check in /health."""
        found = self.body.get("checks", {}).get(name, {})
        return found.get("status", ""), found.get("cause") or ""

    def reports(self, name: str, status: str, cause: str = "") -> bool:
        """Whether /health reports this status of a check, with a cause that matches."""
        found, text = self.check(name)
        return found == status and bool(text) and re.search(cause, text) is not None

    def measures(self, name: str, status: str) -> bool:
        """Whether /metrics reports this status of a check."""
        return self.metric("ccmusic_check_status", check=name, status=status) == 1

    def metric(self, name: str, **labels: str) -> float:
        return 0.0 if self.metrics is None else self.metrics.metric(name, **labels)

    def unready(self, cause: str) -> bool:
        """Whether /readyz is false with this cause."""
        return self.ready is not None and self.ready.status == 503 and re.search(cause, self.ready.text) is not None

    @property
    def restarts(self) -> dict[str, int]:
        """Restarts by reason."""
        return self.body.get("restarts", {}).get("by_reason", {})

    @property
    def last_restart(self) -> str:
        """Reason and cause of the last restart."""
        last = self.body.get("restarts", {}).get("last") or {}
        return f"{last.get('reason')}: {last.get('cause')}"

    @property
    def workers(self) -> list[dict[str, Any]]:
        return self.body.get("workers", [])

    @property
    def green(self) -> bool:
        """Whether the three probes are true and every worker is up."""
        up = {"idle", "busy", "testing"}
        return (
            all(answer is not None and answer.status == 200 for answer in (self.health, self.ready, self.live))
            and bool(self.workers)
            and all(worker["state"] in up for worker in self.workers)
        )


def replaced(before: Look, reason: str, cause: str = "", count: int = 1) -> tuple[Callable[[Look], bool], ...]:
    """Signs in /health and in /metrics that workers were replaced for a reason, with its cause."""

    def in_health(now: Look) -> bool:
        more = now.restarts.get(reason, 0) - before.restarts.get(reason, 0)
        return more >= count and reason in now.last_restart and cause in now.last_restart

    def in_metrics(now: Look) -> bool:
        name = "ccmusic_worker_restarts_total"
        return now.metric(name, reason=reason) - before.metric(name, reason=reason) >= count

    before.health, before.metrics  # noqa: B018  read now, not at the first comparison
    return in_health, in_metrics
