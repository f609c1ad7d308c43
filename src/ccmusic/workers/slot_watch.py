"""Watches the threads of the worker slots: starts one that has ended again, and reports one that is stuck."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from ccmusic.health.clock import CLOCK
from ccmusic.health.waits import OWN_WAITS

logger = logging.getLogger(__name__)

STUCK_SECONDS = 5.0
"""A step of a slot may take this much longer than its limit."""


class WatchedSlot(Protocol):
    """What a slot shows of its thread."""

    step: tuple[str, float]
    thread: threading.Thread | None

    @property
    def has_stopped(self) -> bool:
        """Whether the thread was started and has ended although its roster is open."""

    def start(self) -> None:
        """Start a thread."""


class SlotWatch:
    """One turn of the supervising loop is one call of `turn`; it does not block.

    Parameters
    ----------
    slots : sequence of WatchedSlot
    now : callable
        Returns seconds on the clock of this process.

    Attributes
    ----------
    problems : tuple of str
        Slots that cannot go on by themselves, with their cause.
    """

    def __init__(self, slots: Sequence[WatchedSlot], now: Callable[[], float] = CLOCK.now) -> None:
        self._slots = slots
        self._now = now
        self.problems: tuple[str, ...] = ()

    def turn(self) -> None:
        """Look at each slot."""
        self.problems = tuple(filter(None, map(self._problem_of, range(len(self._slots)))))

    def _problem_of(self, index: int) -> str | None:
        slot = self._slots[index]
        if slot.has_stopped:
            logger.critical("worker %d: its thread has ended; starting it again", index)
            try:
                slot.start()
            except RuntimeError as error:
                return f"the thread of worker {index} has ended and cannot be started: {error}"
        now = self._now()  # before the step: this thread may wait for a processor between the two
        step, ends_at = slot.step
        overdue = OWN_WAITS.without(slot.thread, now - ends_at, STUCK_SECONDS)
        if overdue > STUCK_SECONDS:
            return f"the thread of worker {index} is stuck: {step} takes {overdue:.0f} s too long"
        return None
