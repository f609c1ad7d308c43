"""The dead man's switch: an alert that always fires, and what its silence means.

Prometheus sends CcmusicWatchdog for ever, Alertmanager repeats it every minute. When it stops, one of them has died, or
the way between has; nobody else would tell.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from ccmusic.alerting.messages import Message
from ccmusic.alerting.notification import Alert, Notification, State
from ccmusic.alerting.outbox import Clock, Outcome

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
RETRY_SECONDS = 60.0
"""Pause before news that nobody took is told again; there is no Alertmanager behind it that would."""
ALERT_NAME = "CcmusicHeartbeatLost"

Deliver = Callable[[Message], Awaitable[Outcome]]


class Watchdog:
    """Notices the silence, and says so once; and once more when it ends.

    Parameters
    ----------
    limit_seconds : float
        Silence that is reported; 0: none ever.
    deliver : callable
        Brings a message to people.
    clock : callable
        Monotonic seconds.
    now : callable
        The time of day.
    """

    def __init__(
        self,
        limit_seconds: float,
        deliver: Deliver,
        *,
        clock: Clock = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._limit_seconds = limit_seconds
        self._deliver = deliver
        self._clock = clock
        self._now = now
        self._last = clock()  # the start counts as one, or a Prometheus that never came up would not be missed
        self._last_at = now()
        self._last_notification: Notification | None = None
        self._told_since: datetime | None = None
        self._not_before = clock()

    @property
    def age_seconds(self) -> float:
        """Since the last heartbeat, or the start."""
        return self._clock() - self._last

    @property
    def lost(self) -> bool:
        """Whether the silence is longer than it may be."""
        return 0 < self._limit_seconds < self.age_seconds

    def beat(self, notification: Notification) -> None:
        """One came."""
        if not any(alert.firing for alert in notification.alerts):
            return  # the watchdog resolved: that is the very thing that must not count
        self._last, self._last_at = self._clock(), self._now()
        self._last_notification = notification

    async def run(self) -> None:
        """Look once a second, for ever."""
        while True:
            try:
                await self.look()
            except Exception:  # the next look must take place
                logger.exception("looking for the heartbeat broke")
            await asyncio.sleep(CHECK_SECONDS)

    async def look(self) -> None:
        """Tell what has changed since the last look."""
        if self._clock() < self._not_before:
            return
        if self.lost and self._told_since is None:
            since = self._last_at
            logger.error("no heartbeat for %.0f s", self.age_seconds)
            if await self._told("firing", since):
                self._told_since = since
        elif not self.lost and self._told_since is not None:
            logger.warning("the heartbeat is back")
            if await self._told("resolved", self._told_since):
                self._told_since = None

    async def _told(self, state: State, since: datetime) -> bool:
        outcome = await self._deliver(self._message(state, since))
        if outcome == "failed":
            self._not_before = self._clock() + RETRY_SECONDS
        return outcome != "failed"

    def _message(self, state: State, since: datetime) -> Message:
        minutes = f"{self._limit_seconds / 60:.3g}"
        last = self._last_notification
        annotations = {
            "summary_zh": "Prometheus 或 Alertmanager 已静默",
            "description_zh": f"超过 {minutes} 分钟没有收到心跳告警 CcmusicWatchdog；恢复之前，其他告警也可能送不到。",
            "summary": "Prometheus or Alertmanager has gone silent",
            "description": f"No CcmusicWatchdog came for more than {minutes} minutes; until it is back, other alerts "
            "may not come either.",
        }
        if last is not None and (runbook := last.alerts[0].annotations.get("runbook_url")):
            annotations["runbook_url"] = runbook
        labels = {"alertname": ALERT_NAME, "severity": "critical", "service": "ccmusic"}
        times = {"startsAt": since, "endsAt": self._now()}
        alert = Alert.model_validate({"status": state, "labels": labels, "annotations": annotations, **times})
        return Message((alert,), last.external_url if last is not None else "")
