"""Whether the event loop still runs, observed from a thread that does not depend on it."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any

from ccmusic.health.check import Check, Observation, failed, passed, warned
from ccmusic.health.clock import CLOCK
from ccmusic.health.stacks import stack_of
from ccmusic.health.waits import OWN_WAITS

BEAT_SECONDS = 0.1
MAX_LAG_SECONDS = 2.0
PAUSED_SECONDS = 1.0
"""A longer pause of the whole process is reported, as a warning."""


class LoopWatch:
    """Runs a periodic callback on an event loop and measures from outside how late it is.

    Use it as a context manager on the watched loop, or call `start` and `stop` there.
    """

    def __init__(self) -> None:
        self._beat_at: float | None = None
        self._thread_id: int | None = None
        self._thread: threading.Thread | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._last_lag = 0.0

    def start(self) -> None:
        """Start on the running loop."""
        self._thread_id = threading.get_ident()
        self._thread = threading.current_thread()
        self._last_lag = 0.0
        self._schedule(asyncio.get_running_loop())

    def stop(self) -> None:
        """Stop, on the same loop."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._beat_at = self._thread_id = None

    def __enter__(self) -> LoopWatch:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def lag_seconds(self) -> float:
        """Delay of the last callback, or of the one that is due if that is longer."""
        beat_at = self._beat_at
        due = 0.0 if beat_at is None else CLOCK.now() - beat_at - BEAT_SECONDS
        return max(self._last_lag, due)

    def check(self, max_lag_seconds: float = MAX_LAG_SECONDS) -> Check:
        """Check that fails ``/livez`` and ``/health`` while the loop is blocked.

        Parameters
        ----------
        max_lag_seconds : float
            Longest allowed delay of a callback.
        """
        stopped_seconds = CLOCK.stopped_seconds

        def observe() -> Observation:
            nonlocal stopped_seconds
            stopped, stopped_seconds = CLOCK.stopped_seconds - stopped_seconds, CLOCK.stopped_seconds
            now = CLOCK.now()  # before the beat: this thread may wait for a processor between the two
            beat_at, thread_id = self._beat_at, self._thread_id
            if beat_at is None:
                return passed()
            late = max(0.0, now - beat_at - BEAT_SECONDS)
            late = OWN_WAITS.without(self._thread, late, max_lag_seconds)
            if late <= max_lag_seconds:
                if stopped > PAUSED_SECONDS:
                    cause = f"the whole process was stopped for {stopped:.1f} s"
                    return warned(cause, round(late, 3), "s", code="paused")
                return passed(round(late, 3), "s")
            stack = stack_of(thread_id)
            where = f" at {stack.innermost}" if stack else ""
            output = stack.text if stack else None
            return failed(f"blocked for {late:.1f} s{where}", round(late, 3), "s", code="blocked", output=output)

        affects: Any = {"livez", "health"}
        return Check("event_loop", observe, affects, measurement="lag", component_type="system")

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beat_at = CLOCK.now()
        self._handle = loop.call_later(BEAT_SECONDS, self._beat, loop)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._beat_at is not None:
            self._last_lag = max(0.0, CLOCK.now() - self._beat_at - BEAT_SECONDS)
            self._schedule(loop)
