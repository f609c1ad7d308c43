"""The body of a worker, in this process: when an answer is vouched for."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import ModelChanged
from ccmusic.workers import worker
from ccmusic.workers.channel import Failed, Job
from ccmusic.workers.worker import CHEAP_SECONDS

JOB = Job(b"", WindowPlan(), False)


class Clock:
    """Stands still unless work is done."""

    worked = 0.0
    waited = 0.0

    def process_time(self) -> float:
        return self.worked

    def perf_counter(self) -> float:
        return self.worked + self.waited


class KnownSounds:
    """A pipeline whose known sound takes as much work as it is told, run by run, and may wait for a processor."""

    card = SimpleNamespace(reference_mix=None, reference=None, taxonomies=())

    def __init__(self, clock: Clock, seconds: list[float]) -> None:
        self.answer = b"the same"
        self.runs = 0
        self.wait_seconds = 0.0
        self._clock = clock
        self._seconds = itertools.chain(seconds, itertools.repeat(seconds[-1]))

    def verify(self) -> str:
        return "the same"

    def canary(self) -> bytes:
        self.runs += 1
        self._clock.worked += next(self._seconds)
        self._clock.waited += self.wait_seconds
        return self.answer

    def classify(self, *_: object, **__: object) -> str:
        self._clock.worked += 0.01
        return "an answer"


@pytest.fixture
def working(monkeypatch):
    def begin(*seconds: float, wait_seconds: float = 0.0) -> tuple[worker._Worker, KnownSounds]:
        clock = Clock()
        monkeypatch.setattr(worker, "time", clock)
        pipeline = KnownSounds(clock, list(seconds))
        pipeline.wait_seconds = wait_seconds
        active_faults = SimpleNamespace(before=lambda job: None)
        return worker._Worker(pipeline, SimpleNamespace(enter=lambda stage: None), active_faults), pipeline

    return begin


def refused(reply: object) -> bool:
    return isinstance(reply, Failed) and isinstance(reply.error, ModelChanged)


def test_an_answer_of_a_changed_network_is_held_back(working):
    fresh, pipeline = working(CHEAP_SECONDS / 2)
    assert fresh.execute(JOB) == "an answer"
    pipeline.answer = b"something else"
    assert refused(fresh.execute(JOB))


def test_a_worker_that_waits_for_a_processor_vouches_for_every_answer(working):
    fresh, pipeline = working(CHEAP_SECONDS / 2, wait_seconds=50 * CHEAP_SECONDS)
    pipeline.answer = b"something else"
    assert refused(fresh.execute(JOB))


def test_first_runs_that_cost_more_do_not_let_answers_go_unvouched_for(working):
    dear = 1.5 * CHEAP_SECONDS
    fresh, pipeline = working(dear, dear, dear, CHEAP_SECONDS / 2, dear)
    pipeline.answer = b"something else"
    assert refused(fresh.execute(JOB))


def test_what_the_known_sound_costs_is_seen_later_if_it_was_not_at_the_start(working):
    fresh, pipeline = working(10 * CHEAP_SECONDS, CHEAP_SECONDS / 2)
    runs = pipeline.runs
    while pipeline.runs == runs:  # 10 ms of work each, until a tenth of it is the dear run's
        assert fresh.execute(JOB) == "an answer"
    pipeline.answer = b"something else"
    assert refused(fresh.execute(JOB))


def test_a_network_that_is_slow_is_runs_for_a_tenth_of_its_time(working):
    fresh, pipeline = working(0.045)
    runs = pipeline.runs
    for _ in range(200):  # 2 s
        fresh.execute(JOB)
    assert pipeline.runs - runs == 4
