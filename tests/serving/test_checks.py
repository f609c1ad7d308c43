"""The checks of the service, each as a function of records, without a process."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ccmusic.errors import DependencyUnavailable, ModelRefused, ModelReplaced
from ccmusic.health import DiskSpace
from ccmusic.inference.result import ModelIdentity
from ccmusic.models.card import CARD_NAME, read_card
from ccmusic.models.store import locate
from ccmusic.monitoring.drift_watch import DriftState
from ccmusic.monitoring.page_state import PageState
from ccmusic.process.log_output import DroppedLines
from ccmusic.serving import checks
from ccmusic.serving.checks import MIN_ANSWERS, ModelHash, Outcomes, RecentAnswers, log_check
from ccmusic.settings import Settings
from ccmusic.workers.records import HelperState, QueueState, Restart, SelfTestState, WorkerRecord, load_error_code
from ccmusic.workers.served_model import ServedModel
from ccmusic.workers.supervisor_state import SupervisorState
from support.bands_model import write_model

SERVED = ServedModel(ModelIdentity("bands", "0.0.1", "0" * 64), "onnxruntime-cpu")
IDLE = WorkerRecord(0, "idle", 7, 0, 0)
STARTING = WorkerRecord(1, "starting", None, 1, 0)
FAILED = WorkerRecord(0, "failed", None, 1, 0, error="no such operator")
READY = SupervisorState(served=SERVED, workers=(IDLE, replace(IDLE, index=1)), read_at=1000.0)
TESTED = SelfTestState(passed=True, age_seconds=1.0, seconds=0.02, best_seconds=0.02, failures=0)


@pytest.fixture
def settings(make_settings):
    return make_settings(workers=2, self_test_seconds=10.0, max_wait_seconds=20.0, max_error_share=0.5)


def restarts(*ages: float, reason: str = "killed") -> tuple[Restart, ...]:
    return tuple(Restart(0, reason, "ended by SIGKILL", READY.read_at - age) for age in ages)


def test_the_model_passes_once_it_is_verified():
    assert checks.model_check(READY).status == "pass"


def test_the_model_fails_while_it_loads_and_shows_the_stage():
    observation = checks.model_check(SupervisorState(workers=(STARTING,), preparing="building vgg19_bn"))
    assert (observation.status, observation.value) == ("fail", "building vgg19_bn")
    assert observation.message == "Model is still loading..."


def test_the_model_is_loading_before_there_are_workers():
    assert checks.model_check(SupervisorState()).cause == "still loading"


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (ModelRefused("no such operator"), "Model loading failed: no such operator"),
        (DependencyUnavailable("no such operator"), "Health check failed: no such operator"),
        (ModelReplaced("no such operator"), "Model loading failed: no such operator"),
    ],
)
def test_the_model_fails_when_no_worker_can_load_it(failure, message):
    observation = checks.model_check(SupervisorState(workers=(FAILED,), load_failure=failure))
    assert (observation.status, observation.message) == ("fail", message)
    assert observation.code == load_error_code(failure)


def test_a_worker_that_was_refused_for_its_model_fails_the_check_of_one_model():
    assert checks.one_model_check(replace(READY, workers=(IDLE, FAILED))).status == "pass"
    refused = replace(FAILED, index=1, error="another model", error_code="model_replaced")
    observation = checks.one_model_check(replace(READY, workers=(IDLE, refused)))
    assert (observation.status, observation.code) == ("fail", "model_replaced")
    assert observation.cause == "worker 1: another model"


def test_the_model_passes_while_one_worker_of_two_cannot_load_it():
    assert checks.model_check(replace(READY, workers=(IDLE, FAILED))).status == "pass"


def test_the_choice_of_the_model_warns_of_every_caveat():
    assert checks.model_choice_check(READY).status == "pass"
    served = replace(SERVED, caveat="int8 is not available")
    observation = checks.model_choice_check(replace(READY, served=served, preparation_caveat="could not be fetched"))
    assert (observation.status, observation.cause) == ("warn", "could not be fetched; int8 is not available")


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


def test_only_a_service_without_help_is_not_alive(settings, tmp_path):
    made = checks.service_checks(settings, lambda: READY, lambda: READY, RecentAnswers, DriftState, DiskSpace(tmp_path))
    (helpers,) = [check for check in made if check.name == "helpers"]
    assert helpers.affects == {"health", "livez"}


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


@pytest.mark.parametrize(
    ("count", "errors", "status"),
    [(0, 0, "pass"), (MIN_ANSWERS - 1, MIN_ANSWERS - 1, "pass"), (10, 5, "pass"), (10, 6, "fail")],
)
def test_errors_fail_above_their_share_of_enough_answers(settings, count, errors, status):
    assert checks.errors_check(RecentAnswers(count, errors), settings).status == status


def test_outcomes_count_the_answers_of_the_last_seconds(monkeypatch):
    outcomes = Outcomes()
    outcomes.note(failed_inside=True)
    outcomes.note(failed_inside=False)
    assert outcomes.read() == RecentAnswers(2, 1)
    monkeypatch.setattr(checks, "ERROR_SECONDS", 0.0)
    assert outcomes.read() == RecentAnswers(0, 0)


@pytest.fixture
def on_disk(tmp_path):
    """The state of a service whose model is in `tmp_path`."""
    write_model(tmp_path)
    location = locate(str(tmp_path))
    card = read_card(tmp_path / CARD_NAME)
    served = replace(SERVED, identity=ModelIdentity("bands", "0.0.1", card.sha256), answer_hashes=card.answer_hashes())
    return SupervisorState(served=served, location=location, workers=(IDLE,))


def test_the_model_hash_passes_without_a_model():
    assert ModelHash(60.0)(SupervisorState()).status == "pass"


def test_the_model_hash_fails_when_the_file_is_altered(on_disk, tmp_path):
    model_hash = ModelHash(3600.0)
    assert model_hash(on_disk).value == on_disk.served.identity.sha256[:12]
    (tmp_path / "model.onnx").write_bytes(b"another network")
    assert "the next start would not load it" in model_hash(on_disk).cause


def test_the_model_hash_fails_when_the_card_is_another_one(on_disk, tmp_path):
    write_model(tmp_path, uncertain_below=0.9)
    observation = ModelHash(3600.0)(on_disk)
    assert (observation.status, observation.code) == ("fail", "file_changed")
    assert "uncertain_below" in observation.cause


def test_a_card_that_cannot_be_read_fails_the_model_hash(on_disk, tmp_path):
    (tmp_path / CARD_NAME).write_text("{}")
    assert "cannot be read" in ModelHash(60.0)(on_disk).cause


@pytest.mark.parametrize("last_replica", [False, True])
def test_the_last_replica_stays_ready_despite_errors(make_settings, tmp_path, last_replica):
    made = checks.service_checks(
        make_settings(last_replica=last_replica),
        lambda: READY,
        lambda: READY,
        RecentAnswers,
        DriftState,
        DiskSpace(tmp_path),
    )
    (errors,) = [check for check in made if check.name == "errors"]
    assert errors.affects == ({"health"} if last_replica else {"health", "readyz"})


ABSENT = PageState("absent", "Gradio is not installed", "dependency_missing")


@pytest.mark.parametrize(
    ("state", "required", "status", "code"),
    [
        (PageState(), True, "pass", "ok"),
        (PageState("starting"), True, "pass", "ok"),
        (PageState("open", failures=3), True, "pass", "ok"),
        (PageState("failed", "no space left", "not_writable", 1), False, "fail", "not_writable"),
        # by default the page is served where Gradio is installed; who has set `page` to true was promised a page
        (ABSENT, False, "warn", "dependency_missing"),
        (ABSENT, True, "fail", "dependency_missing"),
    ],
)
def test_the_page_fails_while_it_does_not_work(state, required, status, code):
    observation = checks.page_check(state, Settings(page=True) if required else Settings())
    assert (observation.status, observation.code) == (status, code)
    assert observation.cause == (state.cause or None)


@pytest.mark.parametrize(("page", "n_checks"), [(True, 1), (False, 0)])
def test_a_page_that_is_turned_off_is_not_checked(make_settings, tmp_path, page, n_checks):
    made = checks.service_checks(
        make_settings(page=page), SupervisorState, SupervisorState, RecentAnswers, DriftState, DiskSpace(tmp_path)
    )
    affected = [check.affects for check in made if check.name == "page"]
    assert affected == [{"health"}] * n_checks


def test_a_missing_repository_of_models_is_a_warning(make_settings, tmp_path):
    made = checks.service_checks(
        make_settings(model_repository=tmp_path / "models"),
        SupervisorState,
        SupervisorState,
        RecentAnswers,
        DriftState,
        DiskSpace(tmp_path),
    )
    (check,) = [check for check in made if check.name == "model_repository"]
    assert (check.observe().status, check.observe().code) == ("warn", "directory_missing")
    (tmp_path / "models").mkdir()
    assert check.observe().status == "pass"


def test_all_checks_of_a_sampling_get_the_same_state(settings, tmp_path):
    read = []
    made = checks.service_checks(
        settings, lambda: read.append(1) or READY, SupervisorState, RecentAnswers, DriftState, DiskSpace(tmp_path)
    )
    names = {
        "model",
        "one_model",
        "model_choice",
        "supervisor",
        "helpers",
        "workers",
        "crash_loop",
        "queue",
        "self_test",
        "speed",
    }
    for check in made:
        if check.name in names:
            assert check.observe().status == "pass"
    assert len(read) == len(names)


def test_lost_lines_of_the_log_are_a_warning():
    dropped = DroppedLines()
    assert log_check(dropped).status == "pass"
    dropped.add(3)
    seen = log_check(dropped)
    assert (seen.status, seen.code, seen.value) == ("warn", "log_lost", 3)
    assert seen.cause.startswith("3 lines of the log were lost")
