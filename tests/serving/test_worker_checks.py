"""The checks of the workers, each as a function of records, without a process."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ccmusic.serving import worker_checks as checks
from ccmusic.workers.records import HelperState, QueueState, Restart, SelfTestState
from support.supervisor_states import FAILED, IDLE, READY, STARTING

TESTED = SelfTestState(passed=True, age_seconds=1.0, seconds=0.02, best_seconds=0.02, failures=0)


@pytest.fixture
def settings(make_settings):
    return make_settings(workers=2, self_test_seconds=10.0)


def restarts(*ages: float, reason: str = "killed") -> tuple[Restart, ...]:
    return tuple(Restart(0, reason, "ended by SIGKILL", READY.read_at - age) for age in ages)


def test_the_supervisor_fails_when_its_loop_is_stuck():
    assert checks.supervisor_check(replace(READY, loop_age_seconds=2.9)).status == "pass"
    observation = checks.supervisor_check(replace(READY, loop_age_seconds=3.1))
    assert (observation.status, observation.value) == ("fail", 3.1)


@pytest.mark.parametrize(
    ("workers", "status", "n_ready"),
    [
        ((IDLE, IDLE), "pass", 2),
        ((replace(IDLE, state="busy"), replace(IDLE, state="testing")), "pass", 2),
        ((IDLE, STARTING), "warn", 1),
        ((FAILED, STARTING), "fail", 0),
    ],
)
def test_the_workers_warn_when_one_is_missing_and_fail_when_all_are(settings, workers, status, n_ready):
    observation = checks.workers_check(replace(READY, workers=workers), settings)
    assert (observation.status, observation.value) == (status, n_ready)


def test_the_workers_are_being_replaced_only_if_one_is_starting(settings):
    none = "none is running with a verified model; "
    starting = checks.workers_check(replace(READY, workers=(STARTING, FAILED)), settings).cause
    assert starting.startswith(f"{none}they are being replaced")
    failed = checks.workers_check(replace(READY, workers=(FAILED, FAILED)), settings).cause
    assert failed == f"{none}none can be started now; last try: no such operator"
    stuck = checks.workers_check(replace(READY, workers=(STARTING,), stuck=("the thread is stuck",)), settings).cause
    assert stuck.startswith(f"{none}none can be started now")


def test_a_missing_worker_names_what_its_last_start_met(settings):
    assert checks.workers_check(replace(READY, workers=(IDLE, FAILED)), settings).cause == (
        "1 of 2 are running; last try: no such operator"
    )


LIMIT = HelperState("fork server", "no process can be started: the limit", 11.0)
NO_WORKER = replace(READY, workers=(FAILED, STARTING))


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        (READY, "pass", "ok"),
        (replace(READY, fork_server=replace(LIMIT, replacing=True)), "warn", "helper_lost"),
        (replace(NO_WORKER, fork_server=replace(LIMIT, replacing=True)), "warn", "helper_lost"),
        (replace(READY, fork_server=LIMIT), "warn", "no_process"),
        (replace(NO_WORKER, fork_server=replace(LIMIT, seconds=9.0)), "warn", "no_process"),
        (replace(NO_WORKER, fork_server=LIMIT), "fail", "no_process"),
        (replace(READY, fork_server=HelperState("fork server", turn_age_seconds=2.9)), "pass", "ok"),
        (replace(READY, fork_server=HelperState("fork server", turn_age_seconds=3.1)), "fail", "stuck_thread"),
        (replace(READY, stuck=("the thread of worker 0 is stuck: a job takes 6 s too long",)), "fail", "stuck_thread"),
    ],
)
def test_the_helpers_fail_only_when_nothing_here_can_bring_the_workers_back(state, status, code):
    observation = checks.helpers_check(state)
    assert (observation.status, observation.code or "ok") == (status, code)


def test_the_workers_name_the_last_restart(settings):
    state = replace(READY, workers=(IDLE, STARTING), restarts=restarts(1.0))
    assert checks.workers_check(state, settings).cause.endswith("worker 0: killed: ended by SIGKILL")


@pytest.mark.parametrize(
    ("last", "workers", "status"),
    [
        (restarts(59, 30), (IDLE,), "pass"),
        (restarts(61, 30, 1), (IDLE,), "pass"),
        (restarts(59, 30, 1), (IDLE,), "warn"),
        (restarts(59, 30, 1), (STARTING,), "fail"),
        (restarts(3, 2, 1, reason="memory_growth"), (STARTING,), "pass"),
    ],
)
def test_a_crash_loop_is_three_unplanned_restarts_within_a_minute(last, workers, status):
    assert checks.crash_loop_check(replace(READY, restarts=last, workers=workers)).status == status


def lost(*ages: float, client: str = "client", worker: int = 0) -> tuple[Restart, ...]:
    """Restarts that recordings have caused."""
    return tuple(Restart(worker, "crashed", "ended by SIGSEGV", READY.read_at - age, int(age), client) for age in ages)


AT_THE_BOUND = tuple(
    Restart(0, "bound", "took more processor time", READY.read_at - age, age, f"client {age}") for age in (3, 2, 1)
)
FROM_THREE = tuple(lost(age, client=name)[0] for age, name in ((3, "a"), (2, "b"), (1, "c")))


@pytest.mark.parametrize(
    ("last", "workers", "answered", "status", "code"),
    [
        (lost(2, 1), (STARTING,), 0, "pass", "ok"),
        (lost(3, 2, 1), (STARTING,), 0, "warn", "recordings_end_workers"),
        (lost(3, 2, 1), (IDLE,), 0, "warn", "recordings_end_workers"),
        # others cause no crash loop by themselves, and do not hide one
        (lost(3, 2, 1) + restarts(0.9, 0.8), (STARTING,), 0, "warn", "recordings_end_workers"),
        (lost(3, 2) + restarts(0.9), (STARTING,), 0, "pass", "ok"),
        (lost(3, 2, 1) + restarts(0.9, 0.8, 0.7), (STARTING,), 0, "fail", "crash_loop"),
        # the recordings of three clients end workers: they are the cause only if others are answered
        (FROM_THREE, (STARTING,), READY.read_at - 2.5, "warn", "recordings_end_workers"),
        (FROM_THREE, (STARTING,), READY.read_at - 3.5, "fail", "crash_loop"),
        (FROM_THREE, (IDLE,), READY.read_at - 3.5, "warn", "crash_loop"),
        # only a recording reaches the kernel's bound
        (AT_THE_BOUND, (STARTING,), READY.read_at - 3.5, "warn", "recordings_end_workers"),
    ],
)
def test_recordings_that_end_workers_are_no_crash_loop(last, workers, answered, status, code):
    state = replace(READY, restarts=last, workers=workers, answered_at=answered)
    observation = checks.crash_loop_check(state)
    assert (observation.status, observation.code) == (status, code)


FIRST = replace(STARTING, index=0)


@pytest.mark.parametrize(
    ("last", "workers", "status"),
    [
        (lost(1), (FIRST,), "warn"),
        (lost(11), (FIRST,), "fail"),  # it should be ready again
        (lost(1), (FAILED,), "fail"),  # its model cannot be loaded
        (lost(2) + restarts(1), (FIRST,), "fail"),
        (restarts(2) + lost(1), (FIRST,), "warn"),
        (lost(1), (FIRST, STARTING), "fail"),  # nothing explains why the second one is not ready
        (lost(1) + lost(1, worker=1), (FIRST, STARTING), "warn"),
        ((), (FIRST,), "fail"),
    ],
)
def test_workers_that_recordings_have_ended_have_a_moment_to_be_replaced(settings, last, workers, status):
    assert checks.workers_check(replace(READY, restarts=last, workers=workers), settings).status == status


def test_the_queue_fails_when_recordings_wait_too_long(settings):
    assert checks.queue_check(replace(READY, queue=QueueState(1, 1, 19.0)), settings).value == 19.0
    assert checks.queue_check(replace(READY, queue_overdue=True), settings).status == "fail"


@pytest.mark.parametrize(
    ("test", "status"),
    [
        (None, "pass"),
        (replace(TESTED, idle_age_seconds=20.0), "pass"),
        (replace(TESTED, idle_age_seconds=20.1), "warn"),
        (replace(TESTED, idle_age_seconds=30.1), "fail"),
        (replace(TESTED, age_seconds=100.0), "pass"),  # a busy worker need not be tested
        (replace(TESTED, passed=False, failures=1), "warn"),
    ],
)
def test_the_self_test_warns_when_it_failed_or_is_late(settings, test, status):
    assert checks.self_test_check(replace(READY, self_test=test), settings).status == status


def test_the_speed_warns_after_two_slow_self_tests_in_a_row():
    assert checks.speed_check(READY).status == "pass"
    slow = replace(TESTED, seconds=0.1, slow=1)
    assert checks.speed_check(replace(READY, self_test=slow)).value == 5.0
    assert checks.speed_check(replace(READY, self_test=replace(slow, slow=2))).status == "warn"
