import asyncio
import threading
import time

import pytest

from ccmusic.health import LoopWatch, loop
from support.fake_clock import FakeProcess
from support.fake_waits import FakeWaits


@pytest.fixture
def watched(monkeypatch):
    """A watch whose loop has stopped to turn, and the process that it is in."""
    event_loop = asyncio.new_event_loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: event_loop)
    process = FakeProcess()
    monkeypatch.setattr(loop, "CLOCK", process.clock)
    monkeypatch.setattr(loop, "OWN_WAITS", FakeWaits())
    watch = LoopWatch()
    watch.start()
    yield watch, process
    watch.stop()
    event_loop.close()


def observe_while(check, process, seconds, step=0.5):
    """Observe the check periodically for some seconds; returns the last observation."""
    for _ in range(round(seconds / step)):
        process.run(step)
        observation = check.observe()
    return observation


def test_a_blocked_loop_fails_livez_and_health(watched):
    watch, process = watched
    check = watch.check(max_lag_seconds=2.0)
    assert check.affects == {"livez", "health"}
    assert observe_while(check, process, 2.0).status == "pass"
    observation = observe_while(check, process, 0.5)
    assert observation.status == "fail"
    assert observation.cause.startswith("blocked for 2.4 s at ")  # here, seen from the loop's own thread
    assert "in observe_while\n" in observation.output
    assert (observation.value, observation.unit) == (2.4, "s")
    assert watch.lag_seconds == pytest.approx(2.4)


def test_a_stopped_process_is_not_a_blocked_loop(watched):
    watch, process = watched
    check = watch.check(max_lag_seconds=2.0)
    process.stop(60)
    observation = check.observe()
    assert (observation.status, observation.code) == ("warn", "paused")
    assert observation.cause == "the whole process was stopped for 59.7 s"
    assert check.observe().status == "pass"
    assert (
        observe_while(check, process, 2.0).status == "fail"
    )  # the loop does not come round, so it is blocked after all


def test_a_thread_that_holds_the_interpreters_lock_blocks_the_loop(watched):
    watch, process = watched
    check = watch.check(max_lag_seconds=2.0)
    process.hold_lock(3.0)
    assert check.observe().status == "fail"


def test_a_loop_whose_thread_waits_for_a_processor_is_not_blocked(watched):
    watch, process = watched
    check = watch.check(max_lag_seconds=2.0)
    loop.OWN_WAITS.waited = 4.0
    assert observe_while(check, process, 6.0).status == "pass"
    assert set(loop.OWN_WAITS.asked) == {threading.get_native_id()}
    assert observe_while(check, process, 0.5).cause.startswith("blocked for 2.4 s at ")


def test_a_callback_that_comes_while_the_check_waits_for_a_processor_is_in_time(watched, monkeypatch):
    watch, process = watched
    check = watch.check(max_lag_seconds=2.0)

    class Late:
        """A clock whose reader loses the processor before its reading."""

        stopped_seconds = 0.0

        def now(self):
            process.run(5.0)
            watch._beat_at = process.clock.now()
            return watch._beat_at

    monkeypatch.setattr(loop, "CLOCK", Late())
    assert check.observe().status == "pass"


def test_a_loop_that_is_not_watched_passes():
    assert LoopWatch().check().observe().value is None
    assert LoopWatch().lag_seconds == 0.0


def test_the_lag_of_the_last_callback_is_kept():
    async def be_late():
        with LoopWatch() as watch:
            begun = time.monotonic()
            while time.monotonic() - begun < 0.5:  # keep the loop from turning
                pass
            await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            return watch.lag_seconds

    assert asyncio.run(be_late()) > 0.3
