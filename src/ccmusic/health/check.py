"""What a check is, what it observes, and what becomes of an observation."""

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
        "not_writable",
        "nearly_full",
        "full",  # of the event loop and the system
    }
)
"""Every code that the checks of this package use. An application may use any others."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Observation:
    """What a check saw.

    Attributes
    ----------
    status : {"pass", "warn", "fail"}
    cause : str or None
        Why it is not a pass, in words.
    value : float, int, str, bool or None
        The measured value.
    unit : str or None
        Its unit.
    message : str or None
        The whole message of ``/health``, for a check that words it itself.
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
        if self.status not in STATUSES:  # neither a pass nor a fail: a probe would take it for a pass
            raise ValueError(f"the status of a check is one of {STATUSES}, not {self.status!r}")
        if not self.code:
            object.__setattr__(self, "code", DEFAULT_CODES[self.status])
        elif not _NAME.fullmatch(self.code):
            raise ValueError(f"the code of an observation consists of a-z, 0-9 and _, unlike {self.code!r}")


def passed(value: Value = None, unit: str | None = None, *, code: str = "") -> Observation:
    """All is well."""
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
    """Something that a person should look at; turns no probe false."""
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
    """Turns the probes false that the check affects."""
    return Observation("fail", cause, value, unit, message, output, code)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at again and again.

    Attributes
    ----------
    name : str
        Lower-case letters, digits and underscores: ``workers``, ``disk``.
    observe : callable
        Gives an `Observation`, or None for a pass. One that raises has not passed.
    affects : collection of {"health", "startupz", "livez", "readyz"}
        The probes that a fail turns false.
    measurement : str
        Second half of the key in health+json.
    component : str or None
        First half of that key; the name where none is given.
    component_type : str
        ``component``, ``datastore`` or ``system``.
    period_seconds : float or None
        None: observed at every sampling, on the sampler's thread, and must therefore not block. A number: observed
        so often on a thread of its own, and may block.
    stuck_seconds : float
        A periodic observation that has not returned for so long counts as a fail.
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
            raise ValueError(f"a check's name is made of a-z, 0-9 and _, unlike {self.name!r}")
        object.__setattr__(self, "affects", frozenset(self.affects))  # a plain set is as good
        if unknown := self.affects.difference(PROBES):
            raise ValueError(f"check {self.name}: no such probe: {', '.join(sorted(unknown))}; there are {PROBES}")
        if self.period_seconds is not None and not self.period_seconds > 0:
            raise ValueError(f"check {self.name}: a period is longer than 0 s, unlike {self.period_seconds}")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """An observation together with what is known of its check.

    Attributes
    ----------
    observed_at : float
        When, in epoch seconds; for display only.
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
        """The message of ``/health`` when this is what is wrong."""
        return self.message or f"Health check failed: {self.name}: {self.cause or 'no cause given'}"


def result_of(check: Check, observation: Observation, observed_at: float) -> CheckResult:
    """Put an observation and its check together, with a value that JSON can carry."""
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
    """Result for a part of the sampling itself that raised."""
    text = error_text(error)
    message = f"Health check failed: {text}"
    affects: frozenset[Probe] = frozenset({"health"})
    return CheckResult(
        name, affects, status, text, message=message, component=name, observed_at=time.time(), code="raised"
    )


def error_text(error: BaseException) -> str:
    """What an exception says; its class when it says nothing."""
    return str(error) or type(error).__name__


def _json_value(value: object) -> Value:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, numbers.Integral):  # NumPy's, say
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    return str(value)
