import asyncio
import time

import pytest

from ccmusic.health import LoopWatch, loop


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(loop.time, "monotonic", lambda: self.now)


@pytest.fixture
def watched(monkeypatch):
    """A watch whose loop has stopped to turn at 1000 s, and the clock."""
    event_loop = asyncio.new_event_loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: event_loop)
    clock = Clock(monkeypatch)
    watch = LoopWatch()
    watch.start()
    yield watch, clock
    watch.stop()
    event_loop.close()


def observe_until(check, clock, seconds, step=0.5):
    while clock.now < 1000.0 + seconds:
        clock.now += step
        observation = check.observe()
    return observation


def test_a_blocked_loop_fails_livez_and_health(watched):
    watch, clock = watched
    check = watch.check(max_lag_seconds=2.0)
    assert check.affects == {"livez", "health"}
    assert observe_until(check, clock, 2.0).status == "pass"
    observation = observe_until(check, clock, 2.5)
    assert observation.status == "fail"
    assert observation.cause.startswith("blocked for 2.4 s at ")  # here, seen from the loop's own thread
    assert "in observe_until\n" in observation.output
    assert (observation.value, observation.unit) == (2.4, "s")
    assert watch.lag_seconds == pytest.approx(2.4)


def test_a_stopped_process_is_not_a_blocked_loop(watched):
    watch, clock = watched
    check = watch.check(max_lag_seconds=2.0)
    clock.now += 60
    observation = check.observe()
    assert (observation.status, observation.cause) == ("warn", "the whole process was stopped for 60.0 s")
    clock.now += 0.5  # and if the loop does not come round now, it is blocked after all
    assert check.observe().status == "fail"


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
