"""The body of a worker, run in this process: when the canary check is made."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import ModelChanged
from ccmusic.workers import worker
from ccmusic.workers.channel import Failed, Job
from ccmusic.workers.worker import CHEAP_SHARE

JOB = Job(b"", WindowPlan(), False)
GOLDEN_SECONDS = 0.1
CHEAP_SECONDS = CHEAP_SHARE * GOLDEN_SECONDS


class Clock:
    """A clock that moves only when work is done."""

    worked = 0.0
    waited = 0.0

    def process_time(self) -> float:
        return self.worked

    def perf_counter(self) -> float:
        return self.worked + self.waited


class StubPipeline:
    """A pipeline whose canary clips take the given processor time, run by run, and may wait for a processor.

    On a machine that is `slowness` times as slow, all of it takes so much longer.
    """

    card = SimpleNamespace(reference_mix=None, reference=None, taxonomies=())

    def __init__(self, clock: Clock, seconds: list[float], slowness: float) -> None:
        self.answer = b"the same"
        self.runs = 0
        self.wait_seconds = 0.0
        self._clock = clock
        self._seconds = itertools.chain(seconds, itertools.repeat(seconds[-1]))
        self._slowness = slowness

    def verify(self) -> str:
        self._clock.worked += GOLDEN_SECONDS * self._slowness
        return "the same"

    def canary(self) -> bytes:
        self.runs += 1
        self._clock.worked += next(self._seconds) * self._slowness
        self._clock.waited += self.wait_seconds
        return self.answer

    def classify(self, *_: object, **__: object) -> str:
        self._clock.worked += 0.01 * self._slowness
        return "an answer"


@pytest.fixture
def make_worker(monkeypatch):
    def begin(*seconds: float, wait_seconds: float = 0.0, slowness: float = 1.0) -> tuple[worker.Worker, StubPipeline]:
        clock = Clock()
        monkeypatch.setattr(worker, "time", clock)
        pipeline = StubPipeline(clock, list(seconds), slowness)
        pipeline.wait_seconds = wait_seconds
        active_faults = SimpleNamespace(before=lambda job: None)
        return worker.Worker(pipeline, SimpleNamespace(enter=lambda stage: None), active_faults), pipeline

    return begin


def refused(reply: object) -> bool:
    return isinstance(reply, Failed) and isinstance(reply.error, ModelChanged)


def test_an_answer_of_a_changed_network_is_not_given(make_worker):
    worker_body, pipeline = make_worker(CHEAP_SECONDS / 2)
    assert worker_body.execute(JOB) == "an answer"
    pipeline.answer = b"something else"
    assert refused(worker_body.execute(JOB))


def test_a_worker_that_waits_for_a_processor_checks_every_answer(make_worker):
    worker_body, pipeline = make_worker(CHEAP_SECONDS / 2, wait_seconds=50 * CHEAP_SECONDS)
    pipeline.answer = b"something else"
    assert refused(worker_body.execute(JOB))


@pytest.mark.parametrize("slowness", [0.1, 10.0])
def test_a_slow_machine_checks_as_often_as_a_fast_one(make_worker, slowness):
    worker_body, pipeline = make_worker(CHEAP_SECONDS / 2, slowness=slowness)
    runs = pipeline.runs
    for _ in range(10):
        worker_body.execute(JOB)
    assert pipeline.runs - runs == 10
    worker_body, pipeline = make_worker(0.045, slowness=slowness)
    runs = pipeline.runs
    for _ in range(200):
        worker_body.execute(JOB)
    assert pipeline.runs - runs == 4


def test_slow_first_runs_do_not_cause_unchecked_answers(make_worker):
    slow = 1.5 * CHEAP_SECONDS
    worker_body, pipeline = make_worker(slow, slow, slow, CHEAP_SECONDS / 2, slow)
    pipeline.answer = b"something else"
    assert refused(worker_body.execute(JOB))


def test_a_cheap_canary_check_is_noticed_later_if_it_was_slow_at_the_start(make_worker):
    worker_body, pipeline = make_worker(10 * CHEAP_SECONDS, CHEAP_SECONDS / 2)
    runs = pipeline.runs
    while pipeline.runs == runs:  # 10 ms of work each, until the slow run costs a tenth of the work
        assert worker_body.execute(JOB) == "an answer"
    pipeline.answer = b"something else"
    assert refused(worker_body.execute(JOB))


def test_the_canary_checks_of_a_slow_network_cost_a_tenth_of_its_time(make_worker):
    worker_body, pipeline = make_worker(0.045)
    runs = pipeline.runs
    for _ in range(200):  # 2 s
        worker_body.execute(JOB)
    assert pipeline.runs - runs == 4
