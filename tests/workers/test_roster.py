"""What is known about the workers of one model, without a process."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import ModelFileNotFound, ModelRefused, ModelReplaced
from ccmusic.inference.result import ModelIdentity
from ccmusic.models.card import read_card
from ccmusic.models.store import locate
from ccmusic.workers import roster as roster_module
from ccmusic.workers.channel import Job, Ready
from ccmusic.workers.job_queue import Ticket
from ccmusic.workers.restart_log import RestartLog
from ccmusic.workers.roster import Roster
from ccmusic.workers.served_model import ServedModel
from support.bands_model import write_model

SERVED = ServedModel(ModelIdentity("bands", "0.0.1", "0" * 64), "onnxruntime-cpu")
READY = Ready(SERVED, 0.02)


class Clock:
    seconds = 1000.0

    def now(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(roster_module, "CLOCK", clock)
    return clock


@pytest.fixture
def events():
    return []


@pytest.fixture
def roster(make_settings, clock, events):
    settings = make_settings(workers=2, self_test_seconds=10.0)
    return Roster(settings, locate(settings.model), RestartLog(lambda: events.append(1)))


def load(roster: Roster, *indices: int) -> None:
    for index in indices:
        roster.note_loaded(index, READY)
        roster.change(index, state="idle", error=None)


def test_the_model_is_loading_until_a_worker_has_verified_it(roster):
    assert (roster.model_status, roster.n_ready, roster.served) == ("loading", 0, None)
    load(roster, 0)
    assert (roster.model_status, roster.n_ready, roster.served) == ("ready", 1, SERVED)
    assert roster.others_ready(1)
    assert not roster.others_ready(0)


@pytest.mark.parametrize(
    "other",
    [
        ServedModel(ModelIdentity("bands", "0.0.1", "1" * 64), "onnxruntime-cpu"),
        ServedModel(SERVED.identity, "onnxruntime-cpu", answer_hashes={"labels": "others"}),
        ServedModel(SERVED.identity, "openvino-cpu-int8"),
    ],
)
def test_the_first_model_is_the_only_one(roster, other):
    load(roster, 1)
    with pytest.raises(ModelReplaced, match=r"so it is refused: restore the files, or change to their model with POST"):
        roster.note_loaded(0, Ready(other, 0.02))
    roster.note_load_failure(0, ModelReplaced("another model"))
    state = roster.state()
    assert (state.served, state.n_ready, state.model_status) == (SERVED, 1, "ready")
    assert [record.error_code for record in state.workers] == ["model_replaced", None]
    load(roster, 0)
    state = roster.state()
    assert [(record.error, record.error_code) for record in state.workers] == [(None, None)] * 2


def test_the_model_stays_the_same_when_every_worker_was_lost(roster):
    load(roster, 0, 1)
    for index in range(2):
        roster.note_load_failure(index, ModelRefused("the file is damaged"))
    with pytest.raises(ModelReplaced):
        roster.note_loaded(0, Ready(ServedModel(SERVED.identity, "another"), 0.02))


def test_a_roster_knows_whether_a_new_worker_would_load_its_model(make_settings, tmp_path):
    card = read_card(write_model(tmp_path) / "card.json")
    roster = Roster(make_settings(), locate(str(tmp_path)), RestartLog(lambda: None))
    assert roster.disk_holds_served()  # nothing is served yet
    identity = ModelIdentity(card.name, card.version, card.sha256)
    roster.note_loaded(0, Ready(ServedModel(identity, "onnxruntime-cpu", answer_hashes=card.answer_hashes()), 0.02))
    assert roster.disk_holds_served()
    write_model(tmp_path, uncertain_below=0.9)
    assert not roster.disk_holds_served()
    (tmp_path / "card.json").unlink()
    assert not roster.disk_holds_served()


def test_the_model_stays_ready_while_lost_workers_are_replaced(roster):
    load(roster, 0, 1)
    for index in range(2):
        roster.change(index, state="starting")
    assert (roster.model_status, roster.n_ready) == ("ready", 0)


def test_the_model_has_an_error_when_no_worker_can_load_it(roster):
    error = ModelFileNotFound("./save.pt")
    roster.note_load_failure(0, error)
    assert roster.model_status == "loading"
    roster.note_load_failure(1, error)
    state = roster.state()
    assert (state.model_status, state.load_failure, state.load_error) == ("error", error, error.sentence)
    load(roster, 1)
    assert (roster.model_status, roster.load_failure) == ("ready", None)


def test_a_failed_preparation_is_an_error_until_there_is_a_model_directory(roster, tmp_path):
    error = ModelFileNotFound("./save.pt")
    roster.note_preparation_failure(error)
    assert (roster.model_status, roster.load_failure, roster.load_error) == ("error", error, error.sentence)
    roster.note_prepared(locate(str(tmp_path)), "the embedded model is served instead")
    assert (roster.model_status, roster.load_failure, roster.load_error) == ("loading", None, None)
    assert roster.state().caveat == "the embedded model is served instead"


def test_only_changes_that_health_must_report_are_events(roster, events):
    roster.change(0, state="idle")
    assert len(events) == 1
    for state in ("busy", "idle", "testing", "idle"):
        roster.change(0, state=state)
    roster.change(0, pid=7)
    assert len(events) == 1
    roster.change(0, state="starting")
    assert len(events) == 2


def test_a_job_that_is_done_leaves_the_worker_idle_unless_it_was_marked_failed(roster):
    load(roster, 0, 1)
    for index in range(2):
        roster.change(index, state="busy")
    roster.change(1, state="starting")
    for index in range(2):
        roster.note_job_done(index)
    assert [(record.state, record.jobs) for record in roster.state().workers] == [("idle", 1), ("starting", 1)]


def test_the_idle_age_of_a_self_test_stands_still_while_the_worker_is_busy(roster, clock):
    load(roster, 0, 1)
    roster.change(0, state="busy")
    clock.seconds += 8.0
    roster.note_self_test(1, 0.02, None)
    clock.seconds += 4.0
    test = roster.state().self_test
    assert (test.age_seconds, test.idle_age_seconds) == (12.0, 4.0)
    roster.note_job_done(0)
    clock.seconds += 5.0
    test = roster.state().self_test
    assert (test.age_seconds, test.idle_age_seconds) == (17.0, 9.0)


def test_a_worker_that_is_not_ready_does_not_count_for_the_age_of_self_tests(roster, clock):
    load(roster, 0, 1)
    roster.change(0, state="starting")
    clock.seconds += 5.0
    roster.note_self_test(1, 0.02, None)
    assert roster.state().self_test.age_seconds == 0.0


def test_wrong_answers_and_slow_self_tests_are_counted(roster, events):
    load(roster, 0)
    for seconds in (0.02, 0.2, 0.3):
        roster.note_self_test(0, seconds, None)
    test = roster.state().self_test
    assert (test.passed, test.best_seconds, test.slow) == (True, 0.02, 2)
    before = len(events)
    roster.note_self_test(0, 0.02, "not bit-equal")
    assert len(events) == before + 1
    test = roster.state().self_test
    assert (test.passed, test.failures) == (False, 1)
    roster.note_self_test(0, 0.02, None)
    test = roster.state().self_test
    assert (test.passed, test.failures, test.slow) == (True, 1, 0)


def test_a_self_test_that_is_slow_by_milliseconds_is_not_slow(roster):
    load(roster, 0)
    roster.note_self_test(0, 0.001, None)
    roster.note_self_test(0, 0.04, None)
    assert roster.state().self_test.slow == 0


def test_a_self_test_is_due_after_its_period_unless_tests_are_paused(roster, clock):
    load(roster, 0)
    assert roster.until_self_test(0, 0.8) == 8.0
    clock.seconds += 9.0
    assert roster.self_test_due(0, 0.8)
    assert not roster.self_test_due(0, 1.0)
    assert roster.until_self_test(0, 0.8) == 0.01
    roster.self_tests_paused = True
    assert not roster.self_test_due(0, 0.8)
    assert roster.until_self_test(0, 0.8) == 10.0


def test_the_predicted_wait_follows_the_duration_of_jobs(roster):
    assert roster.predicted_wait_seconds(3) == 0.0
    load(roster, 0, 1)
    roster.note_job_seconds(2.0)
    assert roster.predicted_wait_seconds(0) == 0.0
    assert roster.predicted_wait_seconds(3) == 4.0
    roster.note_job_seconds(12.0)
    assert roster.predicted_wait_seconds(1) == pytest.approx(3.0)


@pytest.fixture
def losses(roster, monkeypatch):
    """A roster that need not wait for the other slots."""
    monkeypatch.setattr(roster_module, "NOTICE_SECONDS", 0.0)
    return roster


def test_a_job_is_not_the_cause_if_another_worker_was_lost_without_it(losses):
    job, other = object(), object()
    losses.note_loss(0, job)
    assert not losses.lost_with_others(0, job, "crashed")
    losses.note_loss(1, other)
    assert losses.lost_with_others(0, job, "crashed")


def test_two_losses_of_the_same_worker_are_not_at_the_same_time(losses):
    job = object()
    losses.note_loss(0, object())
    losses.note_loss(0, job)
    assert not losses.lost_with_others(0, job, "crashed")


def test_a_job_is_the_cause_if_it_crashed_two_workers(losses):
    job = object()
    losses.note_loss(0, job)
    losses.note_loss(1, job)
    assert not losses.lost_with_others(1, job, "crashed")
    assert losses.lost_with_others(1, job, "killed")  # both were killed from outside


def test_losses_at_different_times_have_different_causes(losses, clock):
    job = object()
    losses.note_loss(0, None)
    clock.seconds += 1.0
    losses.note_loss(1, job)
    assert not losses.lost_with_others(1, job, "crashed")


def test_a_restart_counts_for_the_worker_and_in_the_log(roster):
    roster.note_restart(1, "killed", "ended by SIGKILL")
    assert [record.restarts for record in roster.state().workers] == [0, 1]
    counts, restarts, _ = roster.restart_log.read()
    assert counts["killed"] == 1
    assert restarts[0].worker == 1


def test_a_restart_names_the_job_whose_recording_may_be_the_cause(roster):
    job = Job(b"x", WindowPlan(), False, client="client")
    ticket = Ticket(job, Future(), 0.0, 1.0)
    roster.note_restart(0, "crashed", "ended by SIGSEGV", ticket)
    (restart,) = roster.restart_log.read()[1]
    assert (restart.job, restart.client) == (ticket.number, "client")


def test_a_worker_may_be_lost_only_while_another_can_answer(roster):
    assert not roster.others_can_answer(0)  # the other one is starting
    roster.note_loaded(1, READY)
    roster.change(1, state="busy")
    assert roster.others_can_answer(0)
    roster.change(1, state="failed")  # it may never be ready
    assert roster.others_can_answer(0)


def test_the_time_of_the_last_answer_is_kept(roster, clock):
    assert roster.state().answered_at == float("-inf")
    roster.note_job_seconds(1.0)
    assert roster.state().answered_at == clock.now()
