import threading
from dataclasses import dataclass

import pytest

from ccmusic.health import Check, Health, HealthSnapshot, Observation, failed, passed, warned
from support.waiting import wait_until

SLOW = 3600.0
"""A period longer than any test: each sampling in a test was requested."""


def started(health):
    health.start()
    return health.snapshot()


def test_a_healthy_service(make_health):
    snapshot = started(make_health(Check("a", lambda: passed(3, "s")), Check("b", lambda: None)))
    assert snapshot.healthy
    assert snapshot.message is None
    assert snapshot.warnings == ()
    assert (snapshot.service, snapshot.version, snapshot.model_status) == ("app", "1.0", "ready")
    assert [(check.name, check.status, check.value) for check in snapshot.checks] == [
        ("a", "pass", 3),
        ("b", "pass", None),
    ]


def test_the_first_failing_check_is_named(make_health):
    health = make_health(
        Check("fine", lambda: None),
        Check("elsewhere", lambda: failed("x"), {"readyz"}),
        Check("disk", lambda: failed("no space left")),
        Check("later", lambda: failed("y")),
    )
    assert started(health).message == "Health check failed: disk: no space left"


def test_a_check_may_set_the_whole_message(make_health):
    message = started(make_health(Check("a", lambda: failed("c", message="Model is still loading...")))).message
    assert message == "Model is still loading..."


def test_a_check_that_raises_has_not_passed_and_is_logged_once(make_health, caplog):
    def raises():
        raise RuntimeError("no such thing")

    health = make_health(Check("a", raises))
    assert started(health).message == "Health check failed: no such thing"
    first = health.snapshot()
    health.wake()
    wait_until(lambda: health.snapshot() is not first, "a second sample")
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_a_result_that_is_not_an_observation_fails(make_health):
    message = started(make_health(Check("a", lambda: True))).message
    assert message == "Health check failed: check a returned bool instead of an Observation"


def test_a_warning_fails_no_probe(make_health):
    probes = {"health", "startupz", "livez", "readyz"}
    snapshot = started(make_health(Check("a", lambda: warned("nearly full"), probes)))
    assert all(snapshot.passes(probe) for probe in probes)
    assert snapshot.warnings == ("a: nearly full",)


@pytest.mark.parametrize("affected", ["health", "startupz", "livez", "readyz"])
def test_a_failure_fails_only_the_probes_that_it_affects(make_health, affected):
    snapshot = started(make_health(Check("a", lambda: failed("x"), {affected})))
    for probe in ("health", "startupz", "livez", "readyz"):
        assert snapshot.passes(probe) == (probe != affected)


def test_startup_is_latched(make_health):
    seen = [failed("not yet")]
    health = make_health(Check("a", lambda: seen[0], {"startupz"}), period_seconds=SLOW)
    assert not started(health).passes("startupz")
    for observation, expected in ((None, True), (failed("again"), True)):
        seen[0] = observation
        before = health.snapshot()
        health.wake()
        wait_until(lambda before=before: health.snapshot() is not before, "a sample")
        assert health.snapshot().passes("startupz") == expected


def test_startup_waits_for_the_first_observation(make_health):
    go = threading.Event()
    health = make_health(Check("a", lambda: go.wait() and None, {"startupz"}, period_seconds=SLOW))
    snapshot = started(health)
    assert not snapshot.passes("startupz")
    assert "not every check has been observed yet" in snapshot.message_of("startupz")
    go.set()
    wait_until(lambda: health.snapshot().passes("startupz"), "startup")


def test_all_probes_fail_before_the_start():
    snapshot = Health("app", "1.0").snapshot()
    assert snapshot.message == "Health check failed: sampling: not started"
    assert not any(snapshot.passes(probe) for probe in ("health", "startupz", "livez", "readyz"))


def test_draining_takes_effect_at_once_and_does_not_affect_livez_and_startupz(make_health):
    health = make_health(Check("other", lambda: failed("named later")), period_seconds=SLOW)
    assert started(health).passes("readyz")
    health.drain()
    snapshot = health.snapshot()
    assert snapshot.message.startswith("Health check failed: draining: ")
    assert [snapshot.passes(probe) for probe in ("readyz", "livez", "startupz")] == [False, True, True]


def test_drain_is_safe_in_a_signal_handler_that_interrupts_a_wake(make_health):
    import signal

    health = make_health()
    health.start()
    before = signal.signal(signal.SIGALRM, lambda *_: health.drain())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for _ in range(50_000):
            health.wake()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not health.snapshot().passes("readyz")


def test_details_and_model_status_are_shown(make_health):
    details = {"model": {"name": "m"}}
    snapshot = started(make_health(details=lambda: details, model_status=lambda: "loading"))
    assert snapshot.details == details
    assert snapshot.details is not details  # the caller may change its own later
    assert snapshot.model_status == "loading"


@pytest.mark.parametrize("details", [lambda: 1 / 0, lambda: {"x": object()}, lambda: {"x": float("nan")}])
def test_details_that_cannot_be_shown_are_a_warning(make_health, details):
    snapshot = started(make_health(details=details))
    assert snapshot.healthy
    assert snapshot.warnings[0].startswith("details: ")


def test_a_model_status_that_raises_is_a_failure(make_health):
    snapshot = started(make_health(model_status=lambda: {}["gone"]))
    assert snapshot.message == "Health check failed: 'gone'"
    assert snapshot.model_status == "error"


def test_a_subclass_may_add_fields():
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Wider(HealthSnapshot):
        workers: int

    class WiderHealth(Health):
        def make_snapshot(self, **fields):
            return Wider(workers=3, **fields)

    health = WiderHealth("app", "1.0")
    assert health.snapshot().workers == 3
    health.start()
    health.drain()
    assert health.snapshot().workers == 3
    health.stop()


def test_the_decorator_adds_and_returns_the_function(make_health):
    health = make_health()

    @health.check("database", affects={"health", "readyz"}, component="db", measurement="latency")
    def database():
        return failed("gone")

    result = started(health).checks[0]
    assert database().cause == "gone"
    assert (result.component, result.measurement, result.affects) == ("db", "latency", {"health", "readyz"})


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Check("Disk usage", passed),
        lambda: Check("a", passed, {"ready"}),
        lambda: Check("a", passed, period_seconds=0),
        lambda: Observation("failed"),
    ],
)
def test_misspelt_arguments_are_refused(wrong):
    with pytest.raises(ValueError):
        wrong()


def test_a_name_can_be_used_once(make_health):
    with pytest.raises(ValueError, match="a check named 'a' exists already"):
        make_health(Check("a", passed), Check("a", passed))
