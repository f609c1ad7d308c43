"""What becomes of a job when its worker answers, hangs or ends. The worker is a stub."""

from __future__ import annotations

import pytest

from ccmusic.errors import (
    InferenceTimeout,
    ModelChanged,
    NonFiniteOutput,
    OutOfMemory,
    Quarantined,
    TooCostly,
    WorkerDied,
)
from ccmusic.inference.result import ModelIdentity, TrackResult
from ccmusic.workers.channel import Failed, Job
from ccmusic.workers.slot_jobs import MAX_LOSSES
from support.stub_worker import CRASH, ENDED, HANG, StubProcess


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


def test_a_job_that_reaches_the_kernels_bound_is_refused_at_once(make_pool, monkeypatch):
    monkeypatch.setattr(StubProcess, "exit_cause", lambda self: ("bound", "more processor time"))
    pool = make_pool({Job: [CRASH, Failed(ENDED), CRASH]})
    assert isinstance(pool.error_of(pool.submit()), TooCostly)
    assert pool.quarantine.blocks(b"song")
    assert pool.error_of(pool.submit(b"a song of somebody else")) is ENDED
    assert pool.caused() == [("bound", True)]
    assert isinstance(pool.error_of(pool.submit(b"another song")), TooCostly)
    assert "client" in pool.clients


def test_a_job_that_no_worker_has_begun_is_not_the_cause_and_fails_after_some_losses(make_pool, monkeypatch):
    monkeypatch.setattr(StubProcess, "has_begun", False)
    pool = make_pool({Job: CRASH})
    ticket = pool.submit()
    assert isinstance(pool.error_of(ticket), WorkerDied)
    assert ticket.losses == MAX_LOSSES + 1
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
    assert pool.caused() == [("crashed", False)] * (MAX_LOSSES + 1)
