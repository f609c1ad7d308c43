"""Checks, their observations, and the results made from them."""

from __future__ import annotations

import math
import numbers
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

Status = Literal["pass", "warn", "fail"]
Probe = Literal["health", "startupz", "livez", "readyz"]
Value = float | int | str | bool | None

STATUSES: tuple[Status, ...] = get_args(Status)
PROBES: tuple[Probe, ...] = get_args(Probe)
STUCK_SECONDS = 10.0

DEFAULT_CODES: dict[Status, str] = {"pass": "ok", "warn": "warning", "fail": "failed"}
"""Code of an observation that names none, by status."""
HEALTH_CODES = frozenset(
    {
        "ok",
        "warning",
        "failed",  # the defaults
        "not_observed",
        "not_started",
        "raised",
        "stuck",
        "stale",
        "draining",  # of the sampling
        "loading",
        "load_failed",
        "file_missing",
        "dependency_missing",  # of loaders, files and modules
        "blocked",
        "paused",
        "ended",
        "not_writable",
        "nearly_full",
        "under_pressure",
        "full",  # of the event loop and the system
    }
)
"""Every code that the checks of this package use. An application may use any others."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Observation:
    """What a check observed.

    Attributes
    ----------
    status : {"pass", "warn", "fail"}
    cause : str or None
        Why it does not pass; a text for people.
    value : float, int, str, bool or None
        The measured value.
    unit : str or None
        Its unit.
    message : str or None
        The whole message of ``/health``; by default it is made from the name and the cause.
    output : str or None
        Long text, such as the stack of a thread; shown by ``?verbose`` and in health+json only.
    code : str
        What was observed, for programs: lower-case letters, digits and underscores, from a small set. ``ok``,
        ``warning`` or ``failed`` by default. Texts may change, codes may not.
    """

    status: Status = "pass"
    cause: str | None = None
    value: Value = None
    unit: str | None = None
    message: str | None = None
    output: str | None = None
    code: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:  # a probe would treat any other status as a pass
            raise ValueError(f"the status of a check is one of {STATUSES}, not {self.status!r}")
        if not self.code:
            object.__setattr__(self, "code", DEFAULT_CODES[self.status])
        elif not _NAME.fullmatch(self.code):
            raise ValueError(f"the code of an observation consists of a-z, 0-9 and _, unlike {self.code!r}")


def passed(value: Value = None, unit: str | None = None, *, code: str = "") -> Observation:
    """The check passes."""
    return Observation("pass", None, value, unit, code=code)


def warned(
    cause: str,
    value: Value = None,
    unit: str | None = None,
    *,
    code: str = "",
    message: str | None = None,
    output: str | None = None,
) -> Observation:
    """A person should look at this; no probe fails because of it."""
    return Observation("warn", cause, value, unit, message, output, code)


def failed(
    cause: str,
    value: Value = None,
    unit: str | None = None,
    *,
    code: str = "",
    message: str | None = None,
    output: str | None = None,
) -> Observation:
    """The probes that the check affects fail."""
    return Observation("fail", cause, value, unit, message, output, code)


@dataclass(frozen=True, slots=True)
class Check:
    """One condition that is checked periodically.

    Attributes
    ----------
    name : str
        Lower-case letters, digits and underscores: ``workers``, ``disk``.
    observe : callable
        Returns an `Observation`, or None for a pass. If it raises, the check fails.
    affects : collection of {"health", "startupz", "livez", "readyz"}
        The probes that fail when the check fails.
    measurement : str
        Second half of the key in health+json.
    component : str or None
        First half of that key; the name by default.
    component_type : str
        ``component``, ``datastore`` or ``system``.
    period_seconds : float or None
        None: observed at every sampling on the sampler's thread, so it must not block. A number: observed with this
        period on its own thread, where it may block.
    stuck_seconds : float
        A periodic observation that takes longer counts as a fail.
    """

    name: str
    observe: Callable[[], Observation | None]
    affects: frozenset[Probe] = frozenset({"health"})
    measurement: str = "status"
    component: str | None = None
    component_type: str = "component"
    period_seconds: float | None = None
    stuck_seconds: float = STUCK_SECONDS

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a check's name consists of a-z, 0-9 and _, unlike {self.name!r}")
        object.__setattr__(self, "affects", frozenset(self.affects))  # accepts any collection
        if unknown := self.affects.difference(PROBES):
            raise ValueError(f"check {self.name}: no such probe: {', '.join(sorted(unknown))}; there are {PROBES}")
        if self.period_seconds is not None and not self.period_seconds > 0:
            raise ValueError(f"check {self.name}: a period must be longer than 0 s, unlike {self.period_seconds}")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """An observation together with the data of its check.

    Attributes
    ----------
    observed_at : float
        Epoch seconds; for display only.
    """

    name: str
    affects: frozenset[Probe]
    status: Status = "pass"
    cause: str | None = None
    value: Value = None
    unit: str | None = None
    message: str | None = None
    output: str | None = None
    component: str = ""
    measurement: str = "status"
    component_type: str = "component"
    observed_at: float = 0.0
    code: str = "ok"

    @property
    def sentence(self) -> str:
        """The message of ``/health`` if this check is the reason."""
        return self.message or f"Health check failed: {self.name}: {self.cause or 'no cause given'}"


def result_of(check: Check, observation: Observation, observed_at: float) -> CheckResult:
    """Combine a check with its observation; the value becomes one that JSON can represent."""
    return CheckResult(
        name=check.name,
        affects=check.affects,
        status=observation.status,
        cause=observation.cause,
        value=_json_value(observation.value),
        unit=observation.unit,
        message=observation.message,
        output=observation.output,
        component=check.component or check.name,
        measurement=check.measurement,
        component_type=check.component_type,
        observed_at=observed_at,
        code=observation.code,
    )


def own_result(name: str, status: Status, error: Exception) -> CheckResult:
    """Result for an exception in the sampling itself."""
    text = error_text(error)
    message = f"Health check failed: {text}"
    affects: frozenset[Probe] = frozenset({"health"})
    return CheckResult(
        name, affects, status, text, message=message, component=name, observed_at=time.time(), code="raised"
    )


def error_text(error: BaseException) -> str:
    """Text of an exception; the name of its class if it has none."""
    return str(error) or type(error).__name__


def _json_value(value: object) -> Value:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, numbers.Integral):  # such as NumPy's
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    return str(value)
