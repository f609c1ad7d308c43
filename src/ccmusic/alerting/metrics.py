"""The bridge's own metrics, and the state for its probes. Every series exists from the start, with 0."""

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
    """One registry, updated by the outbox.

    Parameters
    ----------
    heartbeat_age : callable
        Returns the seconds since the last heartbeat, or since the start.
    now : callable
        Returns epoch seconds.

    Attributes
    ----------
    failure : str or None
        Why the robot did not accept the last message; None if it did, or before the first message.
    last_outcome : str or None
        Outcome of the last message.
    """

    def __init__(self, heartbeat_age: Callable[[], float], now: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self.failure: str | None = None
        self.last_outcome: Outcome | None = None
        self._now = now
        self._messages = Counter(
            "ccmusic_wecom_messages",
            "Messages by outcome: delivered by the robot, mailed instead, or failed on both channels.",
            ["outcome"],
            registry=self.registry,
        )
        self._failures = Counter(
            "ccmusic_wecom_failures",
            "Failed attempts to send, by reason; `mail` is the second channel.",
            ["reason"],
            registry=self.registry,
        )
        self._duplicates = Counter(
            "ccmusic_wecom_duplicates",
            "Repeated notifications that were not sent again.",
            registry=self.registry,
        )
        self._last_success = Gauge(
            "ccmusic_wecom_last_success_timestamp_seconds",
            "When the robot last accepted a message; 0 before the first.",
            registry=self.registry,
        )
        Gauge(
            "ccmusic_heartbeat_age_seconds",
            "Time since the last watchdog alert; before the first one, since the start.",
            registry=self.registry,
        ).set_function(heartbeat_age)
        for outcome in OUTCOMES:
            self._messages.labels(outcome)
        for reason in REASONS:
            self._failures.labels(reason)
        ProcessCollector(registry=self.registry)

    def settled(self, outcome: Outcome, text: str | None) -> None:
        """Count the outcome of one message."""
        self._messages.labels(outcome).inc()
        self.failure, self.last_outcome = text, outcome
        if outcome == "delivered":
            self._last_success.set(self._now())

    def failed(self, failure: NotSent) -> None:
        """Count one failed attempt."""
        self._failures.labels(failure.reason).inc()

    def duplicate(self) -> None:
        """Count one repeated notification."""
        self._duplicates.inc()

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Body and content type, in the format that the scraper requests."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type
