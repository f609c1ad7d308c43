"""A clock that a test can move past every deadline, so that the end of a wait does not depend on the machine."""

from __future__ import annotations

import time
from typing import Any

LONG_SECONDS = 3600.0
"""A time limit that no test reaches unless it moves the clock."""


class EndingClock:
    """The module `time`, until `end` is called; then every deadline has passed."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def end(self) -> None:
        """Move the clock past every deadline."""
        self._ahead = 2 * LONG_SECONDS

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)
