"""One drill with a running service: break something on purpose, and watch whether it notices and mends itself."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from ccmusic.operations.asking import Answer, Echo, ask

EXIT_PASSED = 0
EXIT_NOT_INJECTED = 9
EXIT_NOT_NOTICED = 10
EXIT_NOT_RECOVERED = 11

POLL_SECONDS = 0.02
POLL_TIMEOUT_SECONDS = 1.0
"""A probe that has not answered for so long counts as red."""
STEADY_SECONDS = 1.0
"""How long everything must stay green before the service counts as mended."""
INJECT_SECONDS = 90.0
PROBES = ("/livez", "/readyz", "/health")
UP = ("idle", "busy", "testing")
NEED_JOBS = ("hang-next", "lock-next", "segfault-next", "leak", "error")
NEED_RESTART = ("exit-at-start", "skew-resampler", "skew-hop", "skew-db")


@dataclass(frozen=True, slots=True)
class _Look:
    """What a service says of itself at one moment: each light (None: green) and how many workers were replaced."""

    lights: dict[str, str | None] = field(default_factory=dict)
    restarts: int | None = None
    last_restart: str = ""
    n_workers: int = 0
    all_up: bool = False

    @property
    def green(self) -> bool:
        return not any(self.lights.values()) and self.all_up


def inject(
    url: str,
    fault: str,
    token: str,
    *,
    worker: int = 0,
    size: float | None = None,
    timeout_seconds: float = 60.0,
    echo: Echo = print,
) -> int:
    """Bring about a fault in a running service, and tell when it is noticed and when it is mended.

    The service must allow it (``CCMUSIC_FAULT_INJECTION``). Faults that hold until cleared are cleared once they have
    been noticed; those that need a recording to show get recordings.

    Parameters
    ----------
    url : str
    fault : str
        A name from ``GET /debug/faults``.
    token : str
        The admin token.
    worker : int
        Which worker it strikes.
    size : float, optional
        How much of it; what that means is the fault's own.
    timeout_seconds : float
        For noticing and mending together.
    echo : callable
        Told the timeline.

    Returns
    -------
    int
        0: noticed and mended. 9: it could not be injected. 10: nothing was noticed. 11: it was not mended.
    """
    before = _look(url)
    if not before.green:
        red = next((f"{path}: {cause}" for path, cause in before.lights.items() if cause), "a worker is not up")
        echo(f"doctor: not injected, as the service is not green to begin with: {red}")
        return EXIT_NOT_INJECTED
    admin = _Admin(url, token, echo)
    over = threading.Event()
    if fault in NEED_JOBS:
        for _ in range(before.n_workers):
            threading.Thread(target=_send_recordings, args=(url, over), daemon=True).start()
    query = {"worker": worker} | ({} if size is None else {"size": size})
    began = time.monotonic()
    try:
        if not admin.call("POST", f"/debug/faults/{quote(fault, safe='')}?{urlencode(query)}"):
            return EXIT_NOT_INJECTED
        echo(f"{0:8.3f} s  {fault} injected")
        if fault in NEED_RESTART:
            admin.call("POST", "/debug/restart-workers")
        return _watch(url, before, began, began + timeout_seconds, admin, echo)
    finally:
        over.set()
        admin.clear()


def _watch(url: str, before: _Look, began: float, deadline: float, admin: _Admin, echo: Echo) -> int:
    pause = threading.Event()
    last, noticed_at, green_since = before, None, None
    while (now := time.monotonic()) < deadline:
        look = _look(url)
        for line in _changes(last, look):
            echo(f"{time.monotonic() - began:8.3f} s  {line}")
            if noticed_at is None:
                noticed_at = time.monotonic()
        if noticed_at is not None:
            admin.clear()  # else what holds until cleared could never be mended
            green_since = (green_since or now) if look.green else None
            if green_since is not None and now - green_since >= STEADY_SECONDS:
                times = f"noticed after {noticed_at - began:.3f} s, green for good after {green_since - began:.3f} s"
                echo(f"doctor: {times}")
                return EXIT_PASSED
        last = look
        pause.wait(POLL_SECONDS)
    if noticed_at is None:
        echo("doctor: nothing was noticed")
        return EXIT_NOT_NOTICED
    echo(f"doctor: noticed after {noticed_at - began:.3f} s, but not mended within the time")
    return EXIT_NOT_RECOVERED


def _changes(last: _Look, look: _Look) -> list[str]:
    """What is new, in words."""
    lines = []
    for name, cause in look.lights.items():
        if (cause is None) != (last.lights.get(name) is None):
            lines.append(f"{name} green" if cause is None else f"{name} red: {cause}")
    if None not in (look.restarts, last.restarts) and look.restarts != last.restarts:
        lines.append(f"a worker was replaced ({last.restarts} -> {look.restarts}): {look.last_restart}")
    return lines


def _look(url: str) -> _Look:
    lights: dict[str, str | None] = {}
    body: Any = None
    for path in PROBES:
        try:
            answer = ask(url, path, timeout_seconds=POLL_TIMEOUT_SECONDS)
        except OSError as error:
            lights[path] = f"no answer: {error}"
            continue
        lights[path] = None if answer.status == 200 else str(answer.field("message") or f"status {answer.status}")
        if path == "/health":
            body = answer.json()
    if not isinstance(body, dict):
        return _Look(lights)
    restarts = body.get("restarts") or {}
    last = restarts.get("last") or {}
    workers = body.get("workers") or []
    return _Look(
        lights,
        restarts.get("total"),
        f"{last.get('reason')}: {last.get('cause')}",
        len(workers),
        all(worker.get("state") in UP for worker in workers),
    )


class _Admin:
    """The calls that need the token."""

    def __init__(self, url: str, token: str, echo: Echo) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._echo = echo
        self._to_clear = False

    def call(self, method: str, path: str) -> bool:
        """Whether the service did it; the reason is told when not."""
        try:
            answer = ask(self._url, path, method, headers=self._headers, timeout_seconds=INJECT_SECONDS)
        except OSError as error:
            answer = Answer(0, str(error).encode())
        if 200 <= answer.status < 300:
            self._to_clear = self._to_clear or method == "POST"
            return True
        reason = answer.field("error") or answer.field("detail") or answer.body[:200].decode(errors="replace")
        hint = "; is CCMUSIC_FAULT_INJECTION on?" if answer.status == 404 else ""
        self._echo(f"doctor: {method} {path}: {answer.status} {reason}{hint}")
        return False

    def clear(self) -> None:
        """End what holds until cleared, once."""
        if self._to_clear:
            self._to_clear = False
            self.call("DELETE", "/debug/faults")


def _send_recordings(url: str, over: threading.Event) -> None:
    from ccmusic.models.golden import recording

    clip = recording("chords", 2.0)
    while not over.is_set():
        try:
            ask(url, "/v1/classify", "POST", body=clip, headers={"Content-Type": "audio/wav"}, timeout_seconds=30.0)
        except OSError:
            over.wait(POLL_SECONDS)  # what breaks here is what is looked for
