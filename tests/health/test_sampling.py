import threading
import time

from ccmusic.health import Check, state
from support.fake_clock import FakeProcess
from support.fake_waits import FakeWaits
from support.waiting import PATIENCE_SECONDS, wait_until

SLOW = 3600.0
"""A period longer than any test: each sampling in a test was requested."""


def test_waking_samples_within_milliseconds(make_health):
    sampled = threading.Event()
    health = make_health(Check("a", sampled.set), period_seconds=SLOW)
    health.start()
    pause = threading.Event()

    def samples_soon() -> bool:
        pause.wait(2 * state.BURST_SECONDS)
        sampled.clear()
        begun = time.perf_counter()
        health.wake()
        assert sampled.wait(PATIENCE_SECONDS)
        return time.perf_counter() - begun < 0.02

    wait_until(samples_soon, "one sample within 20 ms; on a busy machine others come later")


def test_many_wakes_cause_few_samplings(make_health):
    times = []
    health = make_health(Check("a", lambda: times.append(time.monotonic())), period_seconds=SLOW)
    health.start()
    begun = time.monotonic()
    while len(times) <= 2 or time.monotonic() - begun < 0.2:
        health.wake()
    count = len(times)
    assert count <= (time.monotonic() - begun) / state.BURST_SECONDS + 3


def test_a_stopped_sampling_fails(make_health, monkeypatch):
    stuck, release = threading.Event(), threading.Event()
    health = make_health()
    health.start()
    assert health.snapshot().passes("livez")

    def observe():
        stuck.set()
        release.wait()

    health.add(Check("blocks", observe))
    assert stuck.wait(PATIENCE_SECONDS)
    monkeypatch.setattr(state, "STALE_SECONDS", 0.1)
    wait_until(lambda: not health.snapshot().healthy, "a stale snapshot")
    snapshot = health.snapshot()
    assert snapshot.message.startswith("Health check failed: sampling: no sample for ")
    assert snapshot.message.endswith(" seconds")
    assert [snapshot.passes(probe) for probe in ("livez", "readyz", "startupz")] == [False, False, True]
    assert "in observe" in snapshot.checks[0].output  # where the sampling is stuck
    monkeypatch.setattr(state, "STALE_SECONDS", 60)
    release.set()


def test_a_sample_from_before_a_pause_is_not_stale(make_health, monkeypatch):
    process = FakeProcess()
    monkeypatch.setattr(state, "CLOCK", process.clock)
    monkeypatch.setattr(state, "OWN_WAITS", FakeWaits())
    health = make_health(period_seconds=SLOW)
    health.start()
    process.stop(60.0)
    assert health.snapshot().passes("livez")
    process.run(state.STALE_SECONDS)  # the sampler had time now
    assert not health.snapshot().passes("livez")


def test_a_sampler_that_waits_for_a_processor_is_not_stuck(make_health, monkeypatch):
    process = FakeProcess()
    monkeypatch.setattr(state, "CLOCK", process.clock)
    monkeypatch.setattr(state, "OWN_WAITS", FakeWaits(10.0))
    health = make_health(period_seconds=SLOW)
    health.start()
    process.run(10.0 + 0.9 * state.STALE_SECONDS)
    assert health.snapshot().passes("livez")
    assert state.OWN_WAITS.asked == [health._thread.native_id]
    process.run(0.2 * state.STALE_SECONDS)
    assert not health.snapshot().passes("livez")


def test_after_a_failed_sampling_the_last_snapshot_becomes_stale(make_health, monkeypatch):
    health = make_health(period_seconds=0.05)
    health.start()
    assert health.snapshot().healthy
    monkeypatch.setattr(health, "make_snapshot", lambda **_: 1 / 0)
    monkeypatch.setattr(state, "STALE_SECONDS", 0.2)
    wait_until(lambda: not health.snapshot().healthy, "a stale snapshot")
    monkeypatch.undo()
    wait_until(lambda: health.snapshot().healthy, "sampling again")


def test_it_can_be_started_again(make_health):
    health = make_health(Check("a", lambda: None, period_seconds=0.05))
    for _ in range(2):
        health.start()
        first = health.snapshot()
        health.wake()
        wait_until(lambda first=first: health.snapshot() is not first, "sampling")
        health.stop()


def test_a_clock_that_jumps_changes_nothing(make_health, monkeypatch):
    health = make_health(period_seconds=0.05)
    health.start()
    before = health.snapshot()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    wait_until(lambda: health.snapshot() is not before, "sampling")
    snapshot = health.snapshot()
    assert snapshot.healthy
    assert 0 <= snapshot.uptime_seconds < 2 * PATIENCE_SECONDS
