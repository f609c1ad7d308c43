"""Cause one fault in a running service, and watch whether the service notices it and recovers."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any
from urllib.parse import quote, urlencode

from ccmusic.operations.http_client import Print, Response, request

POLL_SECONDS = 0.02
POLL_TIMEOUT_SECONDS = 1.0
"""A probe that does not answer within this time counts as failed."""
STEADY_SECONDS = 1.0
"""Everything must stay healthy for this time before the service counts as recovered."""
INJECT_SECONDS = 90.0
PROBES = ("/livez", "/readyz", "/health")
UP = ("idle", "busy", "testing")
"""States of a worker that works."""
NEED_JOBS = ("hang-next", "lock-next", "segfault-next", "leak", "error")
"""Faults that only show while recordings are classified."""
NEED_RESTART = ("exit-at-start", "skew-resampler", "skew-hop", "skew-db")
"""Faults that only show in a worker that starts."""


class DrillOutcome(Enum):
    """How a drill ends."""

    PASSED = auto()
    NOT_INJECTED = auto()
    NOT_NOTICED = auto()
    NOT_RECOVERED = auto()


@dataclass(frozen=True, slots=True)
class Observation:
    """What a service reports at one moment.

    Attributes
    ----------
    probes : dict of str to (str or None)
        The cause of each probe that fails; None for one that is healthy.
    restarts : int or None
        Number of workers that were replaced since the start; None if it is not known.
    last_restart : str
        Reason and cause of the last of them.
    n_workers : int
    all_up : bool
        Whether every worker works.
    """

    probes: dict[str, str | None] = field(default_factory=dict)
    restarts: int | None = None
    last_restart: str = ""
    n_workers: int = 0
    all_up: bool = False

    @property
    def healthy(self) -> bool:
        """Whether every probe is healthy and every worker works."""
        return not any(self.probes.values()) and self.all_up

    def changes_since(self, last: Observation) -> list[str]:
        """Return a line for each probe that begins or ceases to fail, and one for replaced workers."""
        lines = []
        for name, cause in self.probes.items():
            if (cause is None) != (last.probes.get(name) is None):
                lines.append(f"{name} is healthy" if cause is None else f"{name} fails: {cause}")
        if None not in (self.restarts, last.restarts) and self.restarts != last.restarts:
            lines.append(f"a worker was replaced ({last.restarts} -> {self.restarts}): {self.last_restart}")
        return lines


def run_drill(
    url: str,
    fault: str,
    token: str,
    *,
    worker: int = 0,
    size: float | None = None,
    timeout_seconds: float = 60.0,
    echo: Print = print,
) -> DrillOutcome:
    """Cause a fault in a running service, and report when it is noticed and when the service has recovered.

    The service must allow it (``CCMUSIC_FAULT_INJECTION``). A fault that lasts until it is cleared is cleared once it
    has been noticed. If a fault only shows while recordings are classified, recordings are sent.

    Parameters
    ----------
    url : str
    fault : str
        A name from ``GET /debug/faults``.
    token : str
        The admin token.
    worker : int
        Number of the worker that gets the fault.
    size : float, optional
        Size of the fault; its unit depends on the fault.
    timeout_seconds : float
        For noticing and recovering together.
    echo : callable
        Is called with each line of the timeline.
    """
    before = _observe(url)
    if not before.healthy:
        why = next((f"{path}: {cause}" for path, cause in before.probes.items() if cause), "a worker is not up")
        echo(f"doctor: not injected, because the service is not healthy to begin with: {why}")
        return DrillOutcome.NOT_INJECTED
    admin = _Admin(url, token, echo)
    over = threading.Event()
    if fault in NEED_JOBS:
        for _ in range(before.n_workers):
            threading.Thread(target=_send_recordings, args=(url, over), daemon=True).start()
    query = {"worker": worker} | ({} if size is None else {"size": size})
    began = time.monotonic()
    try:
        if not admin.call("POST", f"/debug/faults/{quote(fault, safe='')}?{urlencode(query)}"):
            return DrillOutcome.NOT_INJECTED
        echo(f"{0:8.3f} s  {fault} injected")
        if fault in NEED_RESTART:
            admin.call("POST", "/debug/restart-workers")
        return _watch(url, before, began, began + timeout_seconds, admin, echo)
    finally:
        over.set()
        admin.clear()


def _watch(url: str, before: Observation, began: float, deadline: float, admin: _Admin, echo: Print) -> DrillOutcome:
    pause = threading.Event()
    last, noticed_at, healthy_since = before, None, None
    while (now := time.monotonic()) < deadline:
        observation = _observe(url)
        for line in observation.changes_since(last):
            echo(f"{time.monotonic() - began:8.3f} s  {line}")
            if noticed_at is None:
                noticed_at = time.monotonic()
        if noticed_at is not None:
            admin.clear()  # a fault that lasts until it is cleared would prevent the recovery
            healthy_since = (healthy_since or now) if observation.healthy else None
            if healthy_since is not None and now - healthy_since >= STEADY_SECONDS:
                echo(f"doctor: noticed after {noticed_at - began:.3f} s, recovered after {healthy_since - began:.3f} s")
                return DrillOutcome.PASSED
        last = observation
        pause.wait(POLL_SECONDS)
    if noticed_at is None:
        echo("doctor: nothing was noticed")
        return DrillOutcome.NOT_NOTICED
    echo(f"doctor: noticed after {noticed_at - began:.3f} s, but not recovered within the time")
    return DrillOutcome.NOT_RECOVERED


def _observe(url: str) -> Observation:
    probes: dict[str, str | None] = {}
    body: Any = None
    for path in PROBES:
        try:
            response = request(url, path, timeout_seconds=POLL_TIMEOUT_SECONDS)
        except OSError as error:
            probes[path] = f"no answer: {error}"
            continue
        probes[path] = None if response.status == 200 else str(response.field("message") or f"status {response.status}")
        if path == "/health":
            body = response.json()
    return read_observation(probes, body)


def read_observation(probes: dict[str, str | None], body: Any) -> Observation:
    """Return what the JSON of ``/health`` reports of the workers, with the probes; `body` may be anything."""
    if not isinstance(body, dict):
        return Observation(probes)
    restarts = body.get("restarts") or {}
    last = restarts.get("last") or {}
    workers = body.get("workers") or []
    return Observation(
        probes,
        restarts.get("total"),
        f"{last.get('reason')}: {last.get('cause')}",
        len(workers),
        all(worker.get("state") in UP for worker in workers),
    )


class _Admin:
    """The requests that need the admin token."""

    def __init__(self, url: str, token: str, echo: Print) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._echo = echo
        self._to_clear = False

    def call(self, method: str, path: str) -> bool:
        """Return whether the service did it. If not, the reason is printed."""
        try:
            response = request(self._url, path, method, headers=self._headers, timeout_seconds=INJECT_SECONDS)
        except OSError as error:
            response = Response(0, str(error).encode())
        if 200 <= response.status < 300:
            self._to_clear = self._to_clear or method == "POST"
            return True
        reason = response.field("error") or response.field("detail") or response.body[:200].decode(errors="replace")
        hint = "; is CCMUSIC_FAULT_INJECTION on?" if response.status == 404 else ""
        self._echo(f"doctor: {method} {path}: {response.status} {reason}{hint}")
        return False

    def clear(self) -> None:
        """Clear the faults that last until they are cleared, once."""
        if self._to_clear:
            self._to_clear = False
            self.call("DELETE", "/debug/faults")


def _send_recordings(url: str, over: threading.Event) -> None:
    from ccmusic.models.golden import recording

    clip = recording("chords", 2.0)
    while not over.is_set():
        try:
            request(url, "/v1/classify", "POST", body=clip, headers={"Content-Type": "audio/wav"}, timeout_seconds=30.0)
        except OSError:
            over.wait(POLL_SECONDS)  # the fault may break the connection
