"""The age of a heartbeat, in time in which the front process ran."""

from __future__ import annotations

from collections.abc import Callable

from ccmusic.health.clock import CLOCK


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

    def seconds(self, beat_at: float, age_seconds: float) -> float:
        """The age of the last heartbeat; several threads may call this.

        Parameters
        ----------
        beat_at, age_seconds : float
            The last heartbeat and its age, both on the system's clock.
        """
        now = self._now()
        beat_before, came_at, read_at = self._last
        if beat_at != beat_before:  # it came after the last reading, and at most its age ago
            came_at = max(read_at, now - age_seconds)
        self._last = (beat_at, came_at, now)
        return max(0.0, now - came_at)
