"""The service between the routes and the supervisor, with a stub of the supervisor."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest

from ccmusic.errors import (
    CcmusicError,
    EmptyAudio,
    InferenceTimeout,
    InvalidParameter,
    ModelNotReady,
    Overloaded,
    Quarantined,
    TooManyRequests,
)
from ccmusic.genres import roll_up
from ccmusic.health import Check, failed
from ccmusic.inference.result import ModelIdentity, TrackResult
from ccmusic.monitoring.page_state import PageState
from ccmusic.serving.limits import client_of_request
from ccmusic.serving.service import Service
from ccmusic.workers.records import StackDump
from ccmusic.workers.served_model import ServedModel
from ccmusic.workers.supervisor_state import SupervisorState

LEAVES = np.eye(16)[3]
ANSWER = TrackResult(
    ModelIdentity("bands", "0.0.1", "0" * 64), 10.0, {level: roll_up(LEAVES, level) for level in (16, 9, 2)}, (), ()
)


class StubSupervisor:
    """Answers each job with `answer`, or raises it if it is an error."""

    def __init__(self) -> None:
        self.answer = ANSWER
        self.jobs = []
        self.on_job = lambda: None
        self.quarantined = False
        self.now = SupervisorState()

    def state(self) -> SupervisorState:
        return self.now

    def submit(self, job) -> Future:
        self.jobs.append(job)
        self.on_job()
        future: Future = Future()
        if isinstance(self.answer, Exception):
            future.set_exception(self.answer)
        elif self.answer is not None:
            future.set_result(self.answer)
        return future

    def load_model(self, name) -> str:
        self.now = replace(self.now, served=named(name))
        return name

    def refuse_quarantined(self, job) -> None:
        if self.quarantined:
            raise Quarantined("this recording ended two workers and is refused for now")

    def inject(self, fault, worker, size) -> int:
        return 3


def named(version: str) -> ServedModel:
    return ServedModel(ModelIdentity("bands", version, "0" * 64), "onnxruntime-cpu")


@pytest.fixture
def supervisor():
    return StubSupervisor()


@pytest.fixture
def service(make_settings, supervisor):
    service = Service(make_settings(max_windows=10), supervisor=supervisor)
    yield service
    service.health.stop()


def classify(service: Service, **options):
    return asyncio.run(service.classify(b"RIFF", **options))


def metric(service: Service, name: str, **labels: str) -> float:
    return service.metrics.registry.get_sample_value(name, labels) or 0.0


def test_what_the_page_reports_is_in_the_next_snapshot(make_settings, supervisor):
    service = Service(make_settings(page=True), supervisor=supervisor)
    service.report_page(PageState("failed", "a reason", "page_failed", 1))
    service.health.start()
    try:
        snapshot = service.snapshot()
        assert snapshot.page.failures == 1
        (page,) = [check for check in snapshot.checks if check.name == "page"]
        assert (page.status, page.code, page.cause) == ("fail", "page_failed", "a reason")
        assert page.affects == {"health"}
    finally:
        service.health.stop()


def test_an_answer_is_returned_and_counted(service, supervisor):
    assert classify(service, windows=3, spectrogram=True) is supervisor.answer
    assert (supervisor.jobs[0].source, supervisor.jobs[0].plan.count, supervisor.jobs[0].spectrogram) == (
        b"RIFF",
        3,
        True,
    )
    assert metric(service, "ccmusic_classifications_total") == 1


@pytest.mark.parametrize(
    ("error", "reason"), [(EmptyAudio("empty"), "empty-audio"), (ModelNotReady("loading"), "model-not-ready")]
)
def test_an_error_is_raised_and_counted_by_its_slug(service, supervisor, error, reason):
    supervisor.answer = error
    with pytest.raises(type(error)):
        classify(service)
    assert metric(service, "ccmusic_failures_total", reason=reason) == 1


def test_impossible_windows_are_refused_before_a_worker_gets_the_job(service, supervisor):
    with pytest.raises(InvalidParameter):
        classify(service, windows=11)
    assert supervisor.jobs == []


def test_a_request_of_a_client_that_disconnects_is_counted_as_abandoned(service, supervisor):
    supervisor.answer = None

    async def disconnect() -> None:
        request = asyncio.ensure_future(service.classify(b"RIFF"))
        supervisor.on_job = request.cancel
        with pytest.raises(asyncio.CancelledError):
            await request

    asyncio.run(disconnect())
    assert metric(service, "ccmusic_failures_total", reason="abandoned") == 1


def test_a_recording_in_quarantine_is_refused(service, supervisor):
    supervisor.quarantined = True
    assert classify(service) is supervisor.answer  # nothing is in quarantine, so nothing is hashed
    supervisor.now = replace(supervisor.now, n_quarantined=1)
    service.health.start()
    with pytest.raises(Quarantined):
        classify(service)


def test_new_recordings_are_refused_while_memory_runs_out(make_settings, supervisor, monkeypatch):
    monkeypatch.setattr("ccmusic.serving.checks.memory_check", lambda: Check("memory", lambda: failed("97 % in use")))
    service = Service(make_settings(), supervisor=supervisor)
    service.health.start()
    with pytest.raises(Overloaded, match="memory: 97 % in use"):
        classify(service)
    service.health.stop()
    assert supervisor.jobs == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CcmusicError("an unexpected KeyError"), "fail"),
        (InferenceTimeout("stopped"), "fail"),
        (EmptyAudio("empty"), "pass"),
        (Overloaded("too many", 1.0), "pass"),
    ],
)
def test_only_internal_errors_and_timeouts_count_for_the_check_of_errors(service, supervisor, error, status):
    supervisor.answer = error
    for _ in range(10):
        with pytest.raises(CcmusicError):
            classify(service)
    service.health.start()
    (errors,) = [check for check in service.snapshot().checks if check.name == "errors"]
    assert errors.status == status


def test_recordings_that_take_too_long_do_not_count_for_the_check_of_errors(service, supervisor):
    supervisor.answer = InferenceTimeout("stopped")
    supervisor.answer.by_recording = True
    for _ in range(10):
        with pytest.raises(InferenceTimeout):
            classify(service)
    service.health.start()
    (errors,) = [check for check in service.snapshot().checks if check.name == "errors"]
    assert errors.status == "pass"


def test_a_job_names_the_client_of_its_request(service, supervisor):
    token = client_of_request.set("192.0.2.7")
    try:
        classify(service)
    finally:
        client_of_request.reset(token)
    classify(service)
    classify(service, client="198.51.100.1")  # the page
    assert [job.client for job in supervisor.jobs] == ["192.0.2.7", "", "198.51.100.1"]


def test_a_client_may_not_send_more_recordings_in_a_minute_than_its_share(make_settings, supervisor):
    service = Service(make_settings(recordings_per_minute=2.0), supervisor=supervisor)
    for _ in range(2):
        classify(service, client="greedy")
    with pytest.raises(TooManyRequests, match="greedy may send 2 recordings in 60 seconds"):
        classify(service, client="greedy")
    classify(service, client="another")
    assert len(supervisor.jobs) == 3
    metrics = service.metrics.registry
    assert metrics.get_sample_value("ccmusic_failures_total", {"reason": "client-limit"}) == 1
    assert metrics.get_sample_value("ccmusic_failures_total", {"reason": "overloaded"}) == 0


def test_a_stack_dump_is_found_by_its_id(service, supervisor):
    dump = StackDump(4, 0, 7, "deadline", "a job took too long", "Thread 1")
    supervisor.now = replace(supervisor.now, stack_dumps=(dump,))
    assert service.stack_dump(4) == "Thread 1"
    assert service.stack_dump(5) is None


def test_injecting_a_fault_returns_the_number_of_changes(service):
    answer = asyncio.run(service.inject("nan-weights", 1, 2.0))
    assert answer == {"fault": "nan-weights", "worker": 1, "changes": 3}


def test_draining_is_reported_at_once(service):
    service.health.start()
    service.drain()
    assert service.draining
    assert not service.snapshot().passes("readyz")


@pytest.fixture
def sampled(service, supervisor, monkeypatch):
    """A service whose health is sampled only when something happens, as far as a test goes."""
    monkeypatch.setattr(service.health, "_period_seconds", 3600.0)
    supervisor.now = SupervisorState(served=named("0.0.1"))
    service.health.start()
    assert service.snapshot().served.identity.version == "0.0.1"
    return service


def test_health_names_the_new_model_when_the_change_has_been_reported(sampled):
    assert asyncio.run(sampled.load_model("0.0.2")) == "0.0.2"
    assert sampled.snapshot().served.identity.version == "0.0.2"


def test_health_names_the_new_model_when_it_has_answered(sampled, supervisor):
    supervisor.now = SupervisorState(served=named("0.0.2"))
    supervisor.answer = replace(ANSWER, model=named("0.0.2").identity)
    assert classify(sampled).model.version == "0.0.2"
    assert sampled.snapshot().served.identity.version == "0.0.2"


def test_an_answer_of_the_old_model_after_the_change_is_given(sampled, supervisor):
    supervisor.answer = replace(ANSWER, model=named("0.0.0").identity)
    assert classify(sampled).model.version == "0.0.0"


def test_an_answer_does_not_wait_for_a_sampling_that_is_stuck(sampled, supervisor, monkeypatch):
    monkeypatch.setattr("ccmusic.serving.service.SAMPLE_POLLS", 2)
    monkeypatch.setattr(sampled.health, "wake", lambda: None)
    supervisor.answer = replace(ANSWER, model=named("0.0.2").identity)
    assert classify(sampled).model.version == "0.0.2"
