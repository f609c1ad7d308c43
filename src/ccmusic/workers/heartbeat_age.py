"""The age of a heartbeat, in time in which the front process ran."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ccmusic.health.clock import CLOCK


class Beating(Protocol):
    """What is needed of a `Heartbeat`; both are on the system's clock."""

    @property
    def beat_at(self) -> float:
        """When the last heartbeat came."""

    @property
    def age_seconds(self) -> float:
        """Its age."""


class HeartbeatAge:
    """The age of another process's last heartbeat, in time in which this process ran.

    When a whole container is stopped and continued, this process may run first. The last heartbeat is then as old as
    the pause on the system's clock, but the worker has had no time yet to beat.

    Parameters
    ----------
    now : callable
        Returns seconds on the clock of this process.
    """

    def __init__(self, now: Callable[[], float] = CLOCK.now) -> None:
        self._now = now
        began = now()
        # last heartbeat on the system's clock, when it came and when it was read, both on the clock of this process
        self._last = (0.0, began, began)

    def seconds(self, heartbeat: Beating) -> float:
        """The age of the last heartbeat; several threads may call this."""
        beat_at, age_seconds = heartbeat.beat_at, heartbeat.age_seconds
        now = self._now()
        if heartbeat.beat_at != beat_at:  # this thread waited for a processor meanwhile, and the process has beaten
            beat_at, age_seconds, now = heartbeat.beat_at, 0.0, self._now()
        beat_before, came_at, read_at = self._last
        if beat_at != beat_before:  # it came after the last reading, and at most its age ago
            came_at = max(read_at, now - age_seconds)
        self._last = (beat_at, came_at, now)
        return max(0.0, now - came_at)
