"""A slot with a stub of the worker process: what happens to the job when a worker answers, hangs or ends."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import (
    EmptyAudio,
    InferenceTimeout,
    ModelChanged,
    ModelRefused,
    NonFiniteOutput,
    OutOfMemory,
    Quarantined,
    WorkerDied,
)
from ccmusic.health.clock import CLOCK
from ccmusic.inference.result import ModelIdentity, TrackResult
from ccmusic.models.store import ModelLocation, locate
from ccmusic.workers import roster as roster_module
from ccmusic.workers import worker_slot
from ccmusic.workers.channel import Failed, Inject, Injected, Job, Ready, SelfTest, SelfTested
from ccmusic.workers.fork_server import ForkServerLost, NotStarted
from ccmusic.workers.job_queue import JobQueue, Ticket
from ccmusic.workers.quarantine import Quarantine
from ccmusic.workers.restart_log import RestartLog
from ccmusic.workers.roster import Roster
from ccmusic.workers.served_model import ServedModel
from ccmusic.workers.suspects import Culprits, SuspectClients
from ccmusic.workers.worker_slot import WorkerSlot
from support.bands_model import write_model
from support.waiting import PATIENCE_SECONDS, wait_until

READY = Ready(ServedModel(ModelIdentity("bands", "0.0.1", "0" * 64), "onnxruntime-cpu"), 0.01)
GROWTH = 64 * 2**20
"""The least growth for which a worker may be replaced."""
CRASH = "crash"
HANG = "hang"
ENDED = EmptyAudio("an answer")
"""Any answer of the pipeline; an error about the recording is an answer too."""


class StubProcess:
    """Answers orders as `script` says: a reply, `CRASH` or `HANG`; self-tests pass unless the script has `SelfTest`."""

    pid = 7
    own_bytes = 100
    grows_bytes = 0
    dump = None
    has_begun = True

    def __init__(self, script: dict[type, object], on_failed) -> None:
        self.connection, self._other_end = multiprocessing.Pipe()
        self.heartbeat = SimpleNamespace(stage="inference", busy_since=lambda moment: self.has_begun)
        self.failure = None
        self.lost = False
        self.end_noted = False
        self.loading = True
        self._script = script
        self._on_failed = on_failed

    @property
    def unusable(self) -> bool:
        return self.lost or self.failure is not None

    def receive_loaded(self, limit_seconds: float, closing):
        return self._reply(self._script.get(Ready, READY))

    def request(self, order, timeout_seconds: float):
        return self._reply(self._script.get(type(order), SelfTested(0.01)))

    def _reply(self, reply):
        if isinstance(reply, list):
            reply = reply.pop(0)
        self.own_bytes += self.grows_bytes
        if reply is HANG:
            raise TimeoutError
        if reply is CRASH:
            self.lost = True
            raise EOFError
        return reply

    def mark_failed(self, reason, cause, *, dump=True) -> None:
        if self.failure is None:
            self.failure = (reason, cause)
            self._on_failed(reason, cause)

    def exit_cause(self):
        return self.failure or ("crashed", "ended by SIGSEGV")

    def close(self) -> None:
        self.connection.close()
        self._other_end.close()


class Pool:
    """One slot with what it needs; every process it starts follows the same script."""

    def __init__(self, settings, script: dict[type, object]) -> None:
        self.roster = Roster(settings, locate(settings.model), RestartLog(lambda: None))
        self.queue = JobQueue(settings.max_wait_seconds)
        self.quarantine = Quarantine(600.0)
        self.clients = SuspectClients(2, 600.0)
        self.slot = WorkerSlot(
            0,
            self.roster,
            self.queue,
            Culprits(self.quarantine, self.clients),
            lambda on_failed: StubProcess(script, on_failed),
        )
        self.slot.start()

    def submit(self, name: bytes = b"song") -> Ticket:
        now = CLOCK.now()
        ticket = Ticket(Job(name, WindowPlan(), False, client="client"), Future(), now, now + 60.0)
        self.queue.put(ticket)
        return ticket

    def error_of(self, ticket: Ticket) -> BaseException | None:
        return ticket.future.exception(PATIENCE_SECONDS)

    def restarts(self) -> list[str]:
        return [restart.reason for restart in self.roster.restart_log.read()[1]]

    def caused(self) -> list[tuple[str, bool]]:
        """The reason of each restart, and whether a recording may be the cause."""
        return [(restart.reason, restart.job is not None) for restart in self.roster.restart_log.read()[1]]

    def stop(self) -> None:
        self.roster.closing.set()
        self.slot.wake()
        self.slot.join(PATIENCE_SECONDS)
        assert not self.slot.is_alive()


@pytest.fixture
def make_pool(make_settings, monkeypatch):
    monkeypatch.setattr(worker_slot, "MAX_PAUSE_AFTER_WORK_SECONDS", 0.0)
    monkeypatch.setattr(worker_slot, "MAX_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(roster_module, "NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(roster_module, "TOGETHER_SECONDS", 0.0)
    pools = []

    def make(script: dict[type, object], **changes) -> Pool:
        pool = Pool(make_settings(workers=1, **({"self_test_seconds": 600.0} | changes)), script)
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.stop()


def test_an_error_of_the_pipeline_is_the_answer_and_the_worker_stays(make_pool):
    pool = make_pool({Job: Failed(ENDED)})
    assert pool.error_of(pool.submit()) is ENDED
    assert pool.restarts() == []


@pytest.mark.parametrize(
    ("error", "reason"), [(NonFiniteOutput("NaN"), "non_finite"), (OutOfMemory("no memory"), "out_of_memory")]
)
def test_a_worker_whose_output_cannot_be_trusted_is_replaced_after_its_answer(make_pool, error, reason):
    pool = make_pool({Job: [Failed(error), Failed(ENDED)]})
    assert pool.error_of(pool.submit()) is error
    assert pool.error_of(pool.submit()) is ENDED
    assert pool.restarts() == [reason]


def test_another_worker_answers_when_the_network_has_changed(make_pool):
    pool = make_pool({Job: [Failed(ModelChanged("not bit-equal")), Failed(ENDED)]})
    assert pool.error_of(pool.submit()) is ENDED
    assert pool.restarts() == ["self_test"]
    assert pool.roster.state().self_test.failures == 1
    assert len(pool.quarantine) == 0


def test_a_job_that_takes_too_long_fails_and_counts_as_a_death(make_pool):
    pool = make_pool({Job: HANG})
    for _ in range(2):
        assert isinstance(pool.error_of(pool.submit()), InferenceTimeout)
    assert pool.restarts() == ["deadline", "deadline"]
    assert pool.quarantine.blocks(b"song")


def test_a_job_that_ends_one_worker_is_answered_by_the_next(make_pool):
    pool = make_pool({Job: [CRASH, Failed(ENDED)]})
    ticket = pool.submit()
    assert pool.error_of(ticket) is ENDED
    assert (ticket.losses, pool.restarts()) == (1, ["crashed"])


def test_a_recording_that_a_worker_survives_is_not_quarantined_for_an_older_death(make_pool):
    pool = make_pool({Job: [HANG, CRASH, Failed(ENDED), HANG]})
    assert isinstance(pool.error_of(pool.submit()), InferenceTimeout)
    assert pool.error_of(pool.submit()) is ENDED
    assert isinstance(pool.error_of(pool.submit()), InferenceTimeout)
    assert not pool.quarantine.blocks(b"song")


def test_a_job_that_ends_two_workers_is_quarantined(make_pool):
    pool = make_pool({Job: CRASH})
    assert isinstance(pool.error_of(pool.submit()), Quarantined)
    assert pool.quarantine.blocks(b"song")
    assert not pool.quarantine.blocks(b"another song")


def test_a_job_that_no_worker_has_begun_is_not_the_cause_and_fails_after_some_losses(make_pool, monkeypatch):
    monkeypatch.setattr(StubProcess, "has_begun", False)
    pool = make_pool({Job: CRASH})
    ticket = pool.submit()
    assert isinstance(pool.error_of(ticket), WorkerDied)
    assert ticket.losses == worker_slot.MAX_LOSSES + 1
    assert len(pool.quarantine) == 0


ANSWER = TrackResult(ModelIdentity("bands", "0.0.1", "0" * 64), 1.0, {}, (), ())


def test_a_recording_that_ends_two_workers_is_the_cause_of_both_restarts(make_pool):
    pool = make_pool({Job: CRASH})
    assert isinstance(pool.error_of(pool.submit()), Quarantined)
    assert pool.caused() == [("crashed", True)] * 2
    assert "client" not in pool.clients  # one recording is not enough
    assert isinstance(pool.error_of(pool.submit(b"another song")), Quarantined)
    assert "client" in pool.clients


def test_a_recording_that_the_next_worker_answers_is_not_the_cause(make_pool):
    pool = make_pool({Job: [CRASH, ANSWER, CRASH, Failed(ENDED)]})
    for name in (b"song", b"another song"):
        pool.error_of(pool.submit(name))
    assert pool.caused() == [("crashed", False)] * 2
    assert "client" not in pool.clients


def test_a_recording_that_was_answered_before_is_not_the_cause(make_pool):
    pool = make_pool({Job: [ANSWER, CRASH, CRASH, HANG]})
    assert pool.error_of(pool.submit()) is None
    assert isinstance(pool.error_of(pool.submit()), Quarantined)
    timeout = pool.error_of(pool.submit())
    assert isinstance(timeout, InferenceTimeout)
    assert not timeout.by_recording
    assert pool.caused() == [("crashed", False), ("crashed", False), ("deadline", False)]


def test_a_job_that_takes_too_long_may_be_the_cause(make_pool):
    pool = make_pool({Job: HANG})
    timeout = pool.error_of(pool.submit())
    assert isinstance(timeout, InferenceTimeout)
    assert timeout.by_recording
    assert pool.caused() == [("deadline", True)]


def test_a_recording_that_needs_too_much_memory_may_be_the_cause(make_pool):
    pool = make_pool({Job: [Failed(OutOfMemory("no memory")), Failed(NonFiniteOutput("NaN")), Failed(ENDED)]})
    for name in (b"large", b"another", b"a third"):
        pool.error_of(pool.submit(name))
    assert pool.caused() == [("out_of_memory", True), ("non_finite", False)]


def test_a_job_that_no_worker_has_begun_is_not_the_cause_of_a_restart(make_pool, monkeypatch):
    monkeypatch.setattr(StubProcess, "has_begun", False)
    pool = make_pool({Job: CRASH})
    pool.error_of(pool.submit())
    assert pool.caused() == [("crashed", False)] * (worker_slot.MAX_LOSSES + 1)


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


def test_a_load_is_tried_again_as_soon_as_the_files_have_changed(make_pool, monkeypatch, tmp_path):
    monkeypatch.setattr(worker_slot, "FIRST_PAUSE_SECONDS", 1000.0)
    monkeypatch.setattr(worker_slot, "MAX_PAUSE_SECONDS", 1000.0)
    directory = write_model(tmp_path / "m")
    polled = []
    files_state = ModelLocation.files_state
    monkeypatch.setattr(ModelLocation, "files_state", lambda self: polled.append(1) or files_state(self))
    pool = make_pool({Ready: [Failed(ModelRefused("half written"))] * 2 + [READY]}, model=str(directory))
    wait_until(lambda: polled and pool.restarts() == ["load", "load"], "the slot waits")
    write_model(directory, version="0.0.2")
    wait_until(lambda: pool.roster.model_status == "ready", "the model is loaded")


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


def test_a_slot_that_cannot_start_a_process_tries_again(make_pool, monkeypatch):
    started = iter([OSError("no process"), None])
    original = StubProcess.__init__

    def start(self, script, on_failed) -> None:
        if (error := next(started, None)) is not None:
            raise error
        original(self, script, on_failed)

    monkeypatch.setattr(StubProcess, "__init__", start)
    pool = make_pool({})
    wait_until(lambda: pool.roster.model_status == "ready", "the model is loaded")


def starting(monkeypatch, *errors: BaseException) -> None:
    """The next starts of a process fail with these errors."""
    left = list(errors)
    original = StubProcess.__init__

    def start(self, script, on_failed) -> None:
        if left:
            raise left.pop(0)
        original(self, script, on_failed)

    monkeypatch.setattr(StubProcess, "__init__", start)


def test_a_slot_without_room_for_a_process_names_the_limit_until_its_worker_is_ready(make_pool, monkeypatch):
    limit = NotStarted("no process can be started: the limit")
    causes = []
    change = Roster.change
    monkeypatch.setattr(Roster, "change", lambda *args, **fields: (causes.append(fields), change(*args, **fields)))
    starting(monkeypatch, limit, limit)
    pool = make_pool({})
    wait_until(lambda: pool.roster.n_ready == 1, "room is back")
    assert causes.count({"state": "failed", "error": str(limit), "error_code": None, "pid": None}) == 2
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
    wait_before_restart = WorkerSlot._wait_before_restart

    def wait(slot) -> None:
        if errors:
            raise errors.pop()
        wait_before_restart(slot)

    monkeypatch.setattr(WorkerSlot, "_wait_before_restart", wait)
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
