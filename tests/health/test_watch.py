import re
import threading

import pytest

from ccmusic.health import Check, Health, failed, passed, watch
from support.fake_waits import FakeWaits
from support.waiting import wait_until

SLOW = 3600.0


@pytest.fixture
def health():
    health = Health("app", "1.0", period_seconds=SLOW)
    yield health
    health.stop()


def test_a_periodic_check_passes_until_it_was_observed(health):
    go = threading.Event()
    health.add(Check("a", lambda: go.wait() and failed("down"), period_seconds=0.05))
    health.start()
    result = health.snapshot().checks[0]
    assert (result.status, result.value) == ("pass", "not yet observed")
    go.set()
    # The sampler's own period never comes: the change itself called for the sample.
    wait_until(lambda: health.snapshot().message == "Health check failed: a: down", "the failure")


def test_a_periodic_check_is_observed_repeatedly(health):
    count = []
    health.add(Check("a", lambda: count.append(1), period_seconds=0.01))
    health.start()
    wait_until(lambda: len(count) > 3, "observations")
    health.stop()
    stopped_at = len(count)
    threading.Event().wait(0.1)
    assert len(count) <= stopped_at + 1


def test_a_check_whose_thread_waits_for_a_processor_is_not_stuck(health, monkeypatch):
    waits = FakeWaits(waited=1e9)
    monkeypatch.setattr(watch, "OWN_WAITS", waits)
    go = threading.Event()
    health.add(Check("a", lambda: go.wait() and None, period_seconds=0.01, stuck_seconds=0.1))
    health.start()

    def message():
        health.wake()
        return health.snapshot().message or ""

    wait_until(lambda: message() == "" and len(waits.asked) > 1, "it is asked about")
    waits.waited = 0.0
    wait_until(lambda: message().startswith("Health check failed: a: stuck for "), "stuck")
    go.set()


def test_a_stuck_check_fails_with_its_stack(health):
    go = threading.Event()

    def hangs():
        go.wait()

    health.add(Check("a", hangs, period_seconds=0.01, stuck_seconds=0.1))
    health.start()

    def message():
        health.wake()
        return health.snapshot().message or ""

    wait_until(lambda: re.fullmatch(r"Health check failed: a: stuck for \d+ s", message()) is not None, "stuck")
    assert "in hangs" in health.snapshot().checks[0].output
    go.set()
    wait_until(lambda: not message(), "all well again")


def test_one_stuck_check_delays_no_other(health):
    go, seen = threading.Event(), [passed()]
    health.add(Check("hangs", lambda: go.wait() and None, period_seconds=0.01))
    health.add(Check("other", lambda: seen[0]))
    health.start()
    seen[0] = failed("down")
    health.wake()
    wait_until(lambda: not health.snapshot().healthy, "the other check's failure")
    go.set()


def test_a_periodic_check_that_raises_has_not_passed(health, caplog):
    health.add(Check("a", lambda: 1 / 0, period_seconds=0.01))
    health.start()
    wait_until(lambda: health.snapshot().message == "Health check failed: division by zero", "the failure")


def test_a_change_is_logged_once_even_if_a_number_varies(health, caplog):
    count = iter(range(100, 10_000))
    health.add(Check("a", lambda: failed(f"{next(count)} s late")))
    health.start()
    for _ in range(3):
        before = health.snapshot()
        health.wake()
        wait_until(lambda before=before: health.snapshot() is not before, "a sample")
    assert [record.getMessage() for record in caplog.records] == ["check a: fail: 100 s late"]
