"""Dead man's switch: reports when the alert that always fires stops arriving.

CcmusicWatchdog always fires in Prometheus, and Alertmanager repeats it every minute. If it stops, one of them has ended
or the network between them has failed. Nothing else would report that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from ccmusic.alerting.messages import Message
from ccmusic.alerting.notification import Alert, Notification, State
from ccmusic.alerting.outbox import Clock, Outcome
from ccmusic.health.clock import CLOCK

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
RETRY_SECONDS = 60.0
"""Pause before an undelivered message is sent again: Alertmanager does not retry these."""
ALERT_NAME = "CcmusicHeartbeatLost"

Deliver = Callable[[Message], Awaitable[Outcome]]


class Watchdog:
    """Reports a missing heartbeat once, and its return once.

    Parameters
    ----------
    limit_seconds : float
        Time without a heartbeat that is reported; 0: never.
    deliver : callable
        Sends a message.
    clock : callable
        Returns seconds in which this process ran: after a pause of its machine, Alertmanager has had no time to post.
    now : callable
        Returns the time of day.
    """

    def __init__(
        self,
        limit_seconds: float,
        deliver: Deliver,
        *,
        clock: Clock = CLOCK.now,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._limit_seconds = limit_seconds
        self._deliver = deliver
        self._clock = clock
        self._now = now
        self._last = clock()  # the start counts as one, so that a Prometheus that never starts is reported too
        self._last_at = now()
        self._last_notification: Notification | None = None
        self._reported_since: datetime | None = None
        self._next_report_at = clock()

    @property
    def age_seconds(self) -> float:
        """Seconds since the last heartbeat, or since the start."""
        return self._clock() - self._last

    @property
    def lost(self) -> bool:
        """Whether the last heartbeat is too long ago."""
        return 0 < self._limit_seconds < self.age_seconds

    def note(self, notification: Notification) -> None:
        """Record a heartbeat."""
        if not any(alert.firing for alert in notification.alerts):
            return  # a resolved watchdog alert is not a heartbeat
        self._last, self._last_at = self._clock(), self._now()
        self._last_notification = notification

    async def run(self) -> None:
        """Check once a second in an endless loop."""
        while True:
            try:
                await self.check()
            except Exception:  # the next check must take place
                logger.exception("checking the heartbeat raised an exception")
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """Report a change since the last check."""
        if self._clock() < self._next_report_at:
            return
        if self.lost and self._reported_since is None:
            since = self._last_at
            logger.error("no heartbeat for %.0f s", self.age_seconds)
            if await self._report("firing", since):
                self._reported_since = since
        elif not self.lost and self._reported_since is not None:
            logger.warning("the heartbeat is back")
            if await self._report("resolved", self._reported_since):
                self._reported_since = None

    async def _report(self, state: State, since: datetime) -> bool:
        outcome = await self._deliver(self._message(state, since))
        if outcome == "failed":
            self._next_report_at = self._clock() + RETRY_SECONDS
        return outcome != "failed"

    def _message(self, state: State, since: datetime) -> Message:
        minutes = f"{self._limit_seconds / 60:.3g}"
        last = self._last_notification
        annotations = {
            "summary_zh": "Prometheus 或 Alertmanager 已静默",
            "description_zh": f"已超过 {minutes} 分钟未收到心跳告警 CcmusicWatchdog；"
            "恢复之前，其他告警也可能无法送达。",
            "summary": "Prometheus or Alertmanager has gone silent",
            "description": f"No CcmusicWatchdog has arrived for more than {minutes} minutes; until it is back, "
            "other alerts may be lost too.",
        }
        if last is not None and (runbook := last.alerts[0].annotations.get("runbook_url")):
            annotations["runbook_url"] = runbook
        labels = {"alertname": ALERT_NAME, "severity": "critical", "service": "ccmusic"}
        times = {"startsAt": since, "endsAt": self._now()}
        alert = Alert.model_validate({"status": state, "labels": labels, "annotations": annotations, **times})
        return Message((alert,), last.external_url if last is not None else "")
