"""The state of a service at one moment."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ccmusic.health.check import CheckResult, Probe
from ccmusic.health.clock import CLOCK

NOT_STARTED = "Health check failed: startup: not every check has been observed yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSnapshot:
    """The state of a service at one moment.

    Attributes
    ----------
    model_status : str
        ``loading``, ``ready`` or ``error``.
    checks : tuple of CheckResult
        In the order in which the checks were added.
    started : bool
        Whether the start-up is complete; once true it stays true.
    uptime_seconds : float
        As of the sampling.
    details : mapping
        Further fields of ``/health``, ready for JSON.
    sampled_at : float
        On the clock of this process, `ccmusic.health.clock.CLOCK`.
    """

    service: str
    version: str
    model_status: str = "ready"
    checks: tuple[CheckResult, ...] = ()
    started: bool = False
    uptime_seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)
    sampled_at: float = field(default_factory=CLOCK.now)

    @property
    def healthy(self) -> bool:
        """Whether no check that affects ``/health`` fails."""
        return self.passes("health")

    @property
    def message(self) -> str | None:
        """Why it is not healthy, in one sentence; None if it is."""
        return self.message_of("health")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings as ``name: cause``: a person should look at them, but no probe fails because of them."""
        return tuple(f"{check.name}: {check.cause}" for check in self.checks if check.status == "warn")

    def failing(self, probe: Probe) -> CheckResult | None:
        """The first failing check that affects a probe."""
        for check in self.checks:
            if check.status == "fail" and probe in check.affects:
                return check
        return None

    def passes(self, probe: Probe) -> bool:
        """Whether a probe passes."""
        return self.started if probe == "startupz" else self.failing(probe) is None

    def message_of(self, probe: Probe) -> str | None:
        """Why a probe fails, in one sentence; None if it passes."""
        if self.passes(probe):
            return None
        failing = self.failing(probe)
        return NOT_STARTED if failing is None else failing.sentence


def with_failure(
    snapshot: HealthSnapshot, name: str, affects: frozenset[Probe], code: str, cause: str, output: str | None = None
) -> HealthSnapshot:
    """The same snapshot with one more failing check, before all others."""
    failure = CheckResult(
        name, affects, "fail", cause, output=output, component=name, observed_at=time.time(), code=code
    )
    return replace(snapshot, checks=(failure, *snapshot.checks))
