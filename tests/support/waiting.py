"""Waits for a condition with a time limit, so that tests do not sleep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], bool], what: str, timeout_seconds: float = 60.0) -> None:
    """Return when the condition holds; fail with `what` if it does not within the timeout."""
    deadline = time.monotonic() + timeout_seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_seconds:g} s: {what}")
        pause.wait(POLL_SECONDS)
