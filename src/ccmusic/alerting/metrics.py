"""The bridge's own metrics and what its probes know; every series is there from the start, with 0."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.exposition import choose_encoder

from ccmusic.alerting.failures import REASONS, NotSent
from ccmusic.alerting.outbox import Outcome

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class BridgeMetrics:
    """One registry, told by the outbox.

    Parameters
    ----------
    heartbeat_age : callable
        Seconds since the last heartbeat, or the start.
    now : callable
        Epoch seconds.

    Attributes
    ----------
    trouble : str or None
        Why the last message did not reach the robot; None when it did, or there was none yet.
    last_outcome : str or None
        What became of it.
    """

    def __init__(self, heartbeat_age: Callable[[], float], now: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self.trouble: str | None = None
        self.last_outcome: Outcome | None = None
        self._now = now
        self._messages = Counter(
            "ccmusic_wecom_messages",
            "Messages by what became of them: delivered by the robot, mailed in its place, or failed both ways.",
            ["outcome"],
            registry=self.registry,
        )
        self._failures = Counter(
            "ccmusic_wecom_failures",
            "Tries that a channel did not take, by reason; `mail` is the second channel.",
            ["reason"],
            registry=self.registry,
        )
        self._duplicates = Counter(
            "ccmusic_wecom_duplicates",
            "Notifications that came again and were not sent again.",
            registry=self.registry,
        )
        self._last_success = Gauge(
            "ccmusic_wecom_last_success_timestamp_seconds",
            "When the robot last took a message; 0 before the first.",
            registry=self.registry,
        )
        Gauge(
            "ccmusic_heartbeat_age_seconds",
            "Since the watchdog alert last came; since the start, before the first.",
            registry=self.registry,
        ).set_function(heartbeat_age)
        for outcome in OUTCOMES:
            self._messages.labels(outcome)
        for reason in REASONS:
            self._failures.labels(reason)
        ProcessCollector(registry=self.registry)

    def settled(self, outcome: Outcome, words: str | None) -> None:
        """One message reached somebody, or nobody."""
        self._messages.labels(outcome).inc()
        self.trouble, self.last_outcome = words, outcome
        if outcome == "delivered":
            self._last_success.set(self._now())

    def failed(self, failure: NotSent) -> None:
        """One try at a channel was in vain."""
        self._failures.labels(failure.reason).inc()

    def duplicate(self) -> None:
        """A notification came again."""
        self._duplicates.inc()

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Body and content type, in the format that the scraper asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type
