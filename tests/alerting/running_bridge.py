"""The bridge on a real socket, in the test's own process, with its times in the test's hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from ccmusic.alerting.app import create_app
from ccmusic.alerting.server import bridge_server
from ccmusic.alerting.settings import BridgeSettings
from ccmusic.health import listen
from support.waiting import PATIENCE_SECONDS, wait_until


@dataclass
class HandClock:
    """Time that passes only when a test says so."""

    seconds: float = 0.0
    start: datetime = field(default=datetime(2026, 11, 24, 2, 0, tzinfo=UTC))

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self.seconds

    def now(self) -> datetime:
        """The time of day."""
        return self.start + timedelta(seconds=self.seconds)


@dataclass
class RunningBridge:
    """Its address, and what a test asks of it."""

    url: str
    app: Any

    def alerts(self, body: Any, **options: Any) -> httpx.Response:
        """``POST /alerts``."""
        return httpx.post(f"{self.url}/alerts", json=body, timeout=PATIENCE_SECONDS, **options)

    def get(self, path: str) -> httpx.Response:
        """``GET``."""
        return httpx.get(self.url + path, timeout=PATIENCE_SECONDS)

    def metric(self, line: str) -> float:
        """The value of one series."""
        found = [row.rsplit(" ", 1)[1] for row in self.get("/metrics").text.splitlines() if row.startswith(line + " ")]
        assert len(found) == 1, f"{line}: {found}"
        return float(found[0])


@contextmanager
def running_bridge(settings: BridgeSettings, **options: Any) -> Iterator[RunningBridge]:
    """Serve from a thread."""
    app = create_app(settings, **options)
    listener = listen("127.0.0.1", 0)
    server = bridge_server(app, listener)
    server.config.timeout_graceful_shutdown = 1
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        wait_until(lambda: server.started, "the bridge")
        yield RunningBridge(f"http://127.0.0.1:{listener.getsockname()[1]}", app)
    finally:
        server.should_exit = True
        thread.join()
