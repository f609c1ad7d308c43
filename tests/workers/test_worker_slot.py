"""A slot with a stub of the worker process: its thread, its loads, self-tests and commands."""

from __future__ import annotations

import threading

import pytest

from ccmusic.errors import WorkerDied
from ccmusic.health.clock import CLOCK
from ccmusic.inference.result import ModelIdentity
from ccmusic.workers.channel import Failed, Inject, Injected, Job, Ready, SelfTest, SelfTested
from ccmusic.workers.fork_server import ForkServerLost, NotStarted
from ccmusic.workers.restart_pause import RestartPause
from ccmusic.workers.roster import Roster
from ccmusic.workers.served_model import ServedModel
from support.stub_worker import CRASH, ENDED, HANG, READY, StubProcess
from support.waiting import PATIENCE_SECONDS, wait_until

GROWTH = 64 * 2**20
"""The least growth for which a worker may be replaced."""


def test_a_worker_that_ends_without_a_job_is_no_recordings_doing(make_pool):
    pool = make_pool({SelfTest: [SelfTested(0.01, "not bit-equal"), SelfTested(0.01)], Ready: [CRASH, READY]})
    wait_until(lambda: pool.roster.n_ready == 1, "the worker is ready")
    assert pool.caused() == [("load", False)]


def test_a_failed_self_test_replaces_the_worker(make_pool):
    pool = make_pool({SelfTest: [SelfTested(0.01, "not bit-equal"), SelfTested(0.01)]}, self_test_seconds=1.0)
    wait_until(lambda: pool.restarts() == ["self_test"], "the worker is replaced")
    wait_until(lambda: pool.roster.state().self_test.passed, "its successor has loaded")
    assert pool.roster.state().self_test.failures == 1


def test_a_worker_that_does_not_answer_a_self_test_is_replaced(make_pool):
    pool = make_pool({SelfTest: [HANG, SelfTested(0.01)]}, self_test_seconds=1.0)
    wait_until(lambda: pool.restarts() == ["self_test"], "the worker is replaced")


def test_a_load_is_tried_again_until_it_succeeds(make_pool):
    pool = make_pool({Ready: [CRASH, Failed(ENDED), HANG, READY]})
    wait_until(lambda: pool.roster.model_status == "ready", "the model is loaded")
    assert pool.restarts() == ["load", "load", "load"]


def test_a_replacement_with_another_model_never_answers(make_pool):
    other = Ready(ServedModel(ModelIdentity("bands", "0.0.2", "1" * 64), "onnxruntime-cpu"), 0.01)
    pool = make_pool({Ready: [READY, other, other, READY], Job: [CRASH, Failed(ENDED)]})
    ticket = pool.submit()
    assert pool.error_of(ticket) is ENDED
    assert pool.restarts() == ["crashed", "load", "load"]
    assert pool.roster.served is READY.served
    assert (ticket.losses, pool.roster.record(0).error_code) == (1, None)


def test_a_command_returns_the_number_of_changes(make_pool):
    pool = make_pool({Inject: Injected(3)})
    assert pool.slot.send_command(Inject("nan-weights", 1.0)).result(PATIENCE_SECONDS) == 3


def test_a_command_that_ends_the_worker_fails(make_pool):
    pool = make_pool({Inject: CRASH})
    assert isinstance(pool.slot.send_command(Inject("hold-gil", 1.0)).exception(PATIENCE_SECONDS), WorkerDied)


def test_a_worker_is_replaced_after_its_job_when_it_should_retire(make_pool):
    processes = []
    pool = make_pool({Job: Failed(ENDED)})
    wait_until(lambda: pool.roster.n_ready == 1, "the worker is ready")
    processes.append(pool.slot.process)
    pool.slot.retire_after_job = True
    pool.slot.wake()
    wait_until(lambda: pool.slot.process not in (None, *processes), "another process runs")
    assert pool.error_of(pool.submit()) is ENDED
    assert pool.restarts() == []


@pytest.mark.parametrize(
    ("bytes_per_reply", "disk_holds_served", "restarts"),
    [(GROWTH, True, []), (GROWTH + 1, True, ["memory_growth"]), (GROWTH + 1, False, [])],
)
def test_a_worker_whose_own_memory_has_grown_is_replaced_after_its_job_if_its_successor_can_load_the_model(
    make_pool, monkeypatch, bytes_per_reply, disk_holds_served, restarts
):
    monkeypatch.setattr(StubProcess, "grows_bytes", bytes_per_reply)
    monkeypatch.setattr(Roster, "disk_holds_served", lambda self: disk_holds_served)
    pool = make_pool({Job: Failed(ENDED)}, recycle_growth_bytes=GROWTH)
    assert pool.error_of(pool.submit()) is ENDED
    wait_until(lambda: pool.roster.record(0).jobs == 1, "the job is over")
    pool.stop()
    assert pool.restarts() == restarts


def starting(monkeypatch, *errors: BaseException) -> None:
    """The next starts of a process fail with these errors."""
    left = list(errors)
    original = StubProcess.__init__

    def start(self, script, on_failed) -> None:
        if left:
            raise left.pop(0)
        original(self, script, on_failed)

    monkeypatch.setattr(StubProcess, "__init__", start)


@pytest.fixture
def changes(monkeypatch) -> list[dict[str, object]]:
    """What was changed in the record of a worker, in order."""
    seen = []
    change = Roster.change
    monkeypatch.setattr(Roster, "change", lambda *args, **fields: (seen.append(fields), change(*args, **fields)))
    return seen


def test_a_slot_that_cannot_start_a_process_reports_it_and_tries_again(make_pool, monkeypatch, changes):
    starting(monkeypatch, ValueError("no process"))
    pool = make_pool({})
    wait_until(lambda: pool.roster.model_status == "ready", "the model is loaded")
    assert {"state": "failed", "error": "ValueError: no process", "error_code": None} in changes


def test_a_slot_without_room_for_a_process_names_the_limit_until_its_worker_is_ready(make_pool, monkeypatch, changes):
    limit = NotStarted("no process can be started: the limit")
    starting(monkeypatch, limit, limit)
    pool = make_pool({})
    wait_until(lambda: pool.roster.n_ready == 1, "room is back")
    assert changes.count({"state": "failed", "error": str(limit), "error_code": None, "pid": None}) == 2
    assert pool.restarts() == []
    assert pool.roster.load_error is None


def test_a_lost_fork_server_is_no_failed_load(make_pool, monkeypatch):
    starting(monkeypatch, ForkServerLost("the fork server ended"))
    pool = make_pool({})
    wait_until(lambda: pool.roster.n_ready == 1, "the next one has forked it")
    assert pool.restarts() == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_can_be_started_again(make_pool, monkeypatch):
    starting(monkeypatch, SystemExit())  # ends the thread
    pool = make_pool({Job: Failed(ENDED)})
    wait_until(lambda: pool.slot.has_stopped, "the thread has ended")
    pool.slot.start()
    assert pool.error_of(pool.submit()) is ENDED
    assert not pool.slot.has_stopped


def test_a_thread_that_runs_is_not_started_again(make_pool):
    pool = make_pool({Job: Failed(ENDED)})
    before = threading.active_count()
    pool.slot.start()
    assert threading.active_count() <= before
    assert pool.error_of(pool.submit()) is ENDED


def test_an_error_outside_of_a_process_does_not_end_the_thread(make_pool, monkeypatch):
    pool = make_pool({Ready: [CRASH, READY]})
    errors = [OSError("no descriptor")]
    wait = RestartPause.wait

    def wait_or_fail(*args, **options) -> None:
        if errors:
            raise errors.pop()
        wait(*args, **options)

    monkeypatch.setattr(RestartPause, "wait", wait_or_fail)
    wait_until(lambda: pool.roster.n_ready == 1, "the model is loaded")


def test_the_step_says_what_the_thread_does(make_pool):
    pool = make_pool({Job: Failed(ENDED)})
    pool.error_of(pool.submit())
    wait_until(lambda: pool.slot.step[0] == "the wait for a job", "it waits")
    assert pool.slot.step[1] < CLOCK.now() + 600.0


def test_a_load_ends_when_the_service_stops(make_pool, monkeypatch):
    closing = []

    def receive_loaded(self, limit_seconds, event):
        closing.append(event)
        event.wait(30)
        raise TimeoutError

    monkeypatch.setattr(StubProcess, "receive_loaded", receive_loaded)
    pool = make_pool({})
    wait_until(lambda: bool(closing), "it loads")
    pool.stop()
    assert pool.restarts() == []
