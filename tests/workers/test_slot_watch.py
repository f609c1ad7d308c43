"""The watch over the threads of the slots, with a stub of a slot and a clock of its own."""

from __future__ import annotations

import math
import threading

import pytest

from ccmusic.workers import slot_watch
from ccmusic.workers.slot_watch import STUCK_SECONDS, SlotWatch
from support.fake_waits import FakeWaits


class StubSlot:
    def __init__(self) -> None:
        self.step = ("nothing", math.inf)
        self.thread = None
        self.has_stopped = False
        self.starts = 0
        self.error: Exception | None = None

    def start(self) -> None:
        self.starts += 1
        if self.error is not None:
            raise self.error
        self.has_stopped = False


@pytest.fixture
def slot() -> StubSlot:
    return StubSlot()


@pytest.fixture
def clock() -> list[float]:
    """Its last number is the present time."""
    return [1000.0]


@pytest.fixture
def watch(slot, clock, monkeypatch) -> SlotWatch:
    monkeypatch.setattr(slot_watch, "OWN_WAITS", FakeWaits())
    return SlotWatch([StubSlot(), slot], lambda: clock[-1])


def test_a_thread_that_has_ended_is_started_again(slot, watch):
    slot.has_stopped = True
    for _ in range(3):
        watch.turn()
    assert (slot.starts, watch.problems) == (1, ())


def test_a_thread_that_cannot_be_started_is_reported_and_tried_again(slot, watch):
    slot.has_stopped, slot.error = True, RuntimeError("can't start new thread")
    watch.turn()
    assert watch.problems == ("the thread of worker 1 has ended and cannot be started: can't start new thread",)
    slot.error = None
    watch.turn()
    assert watch.problems == ()


def test_a_step_that_takes_much_longer_than_its_limit_is_reported_until_it_ends(slot, watch, clock):
    slot.step = ("a job", clock[-1] + 1.0)
    clock.append(1001.0 + STUCK_SECONDS)
    watch.turn()
    assert watch.problems == ()
    clock.append(1002.0 + STUCK_SECONDS)
    watch.turn()
    assert watch.problems == ("the thread of worker 1 is stuck: a job takes 6 s too long",)
    slot.step = ("the wait for a job", clock[-1] + 10.0)
    watch.turn()
    assert watch.problems == ()


def test_a_thread_that_waits_for_a_processor_is_not_stuck(slot, watch, clock):
    slot.thread = threading.current_thread()
    slot.step = ("a job", clock[-1])
    slot_watch.OWN_WAITS.waited = 10.0
    clock.append(1009.0 + STUCK_SECONDS)
    watch.turn()
    assert watch.problems == ()
    assert slot_watch.OWN_WAITS.asked == [slot.thread.native_id]
    clock.append(1012.0 + STUCK_SECONDS)
    watch.turn()
    assert watch.problems == ("the thread of worker 1 is stuck: a job takes 7 s too long",)
