"""Waits for a condition with a time limit, so that tests do not sleep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 300.0
"""Longest wait of a test for something that must happen. A busy machine needs some of it, a failing test all of it."""


def wait_until(condition: Callable[[], bool], what: str, timeout_seconds: float = PATIENCE_SECONDS) -> None:
    """Return when the condition holds; fail with `what` if it does not within the timeout."""
    deadline = time.monotonic() + timeout_seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_seconds:g} s: {what}")
        pause.wait(POLL_SECONDS)
