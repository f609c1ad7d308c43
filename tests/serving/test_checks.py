"""The list of the checks, and those of answers, page and log, each as a function of records, without a process."""

from __future__ import annotations

import sys

import pytest

from ccmusic.health import DiskSpace
from ccmusic.monitoring.drift_watch import DriftState
from ccmusic.monitoring.page_state import PageState
from ccmusic.process.log_output import DroppedLines
from ccmusic.serving import checks
from ccmusic.serving.checks import MIN_ANSWERS, Outcomes, RecentAnswers, log_check
from ccmusic.settings import Settings
from ccmusic.workers.supervisor_state import SupervisorState
from support.supervisor_states import READY


@pytest.fixture
def settings(make_settings):
    return make_settings(workers=2, max_error_share=0.5)


def test_only_a_service_without_help_is_not_alive(settings, tmp_path):
    made = checks.service_checks(settings, lambda: READY, lambda: READY, RecentAnswers, DriftState, DiskSpace(tmp_path))
    (helpers,) = [check for check in made if check.name == "helpers"]
    assert helpers.affects == {"health", "livez"}


@pytest.mark.parametrize("at_the_start", [True, False])
def test_pyav_must_stay_if_it_was_there_at_the_start(settings, tmp_path, monkeypatch, at_the_start):
    if not at_the_start:
        monkeypatch.setitem(sys.modules, "av", None)  # the import system finds it no more
    made = checks.service_checks(settings, lambda: READY, lambda: READY, RecentAnswers, DriftState, DiskSpace(tmp_path))
    monkeypatch.setitem(sys.modules, "av", None)
    (dependencies,) = [check for check in made if check.name == "dependencies"]
    assert dependencies.observe().status == ("fail" if at_the_start else "pass")


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
