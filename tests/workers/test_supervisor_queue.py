"""How many recordings wait, how long, and whose."""

from concurrent.futures import Future
from dataclasses import replace

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import InferenceTimeout, Overloaded, Quarantined, TooManyRequests
from ccmusic.genres import LABELS
from ccmusic.workers.channel import Job
from support.recordings import tone, wav
from support.supervised import SHORT, VERY_LONG, busy, ready
from support.waiting import PATIENCE_SECONDS, wait_until


def test_a_job_that_would_wait_too_long_is_refused_at_once(start):
    supervisor = ready(start(max_wait_seconds=55.0))
    supervisor.pool.roster.note_job_seconds(29.0)  # as if the last recordings had taken so long
    running = supervisor.submit(VERY_LONG)
    wait_until(lambda: busy(supervisor) is not None, "the job has begun")
    waiting = supervisor.submit(SHORT)
    with pytest.raises(Overloaded, match="the wait for a worker is longer than 55 s") as refused:
        supervisor.submit(SHORT)
    assert refused.value.retry_after_seconds == pytest.approx(58.0)
    for accepted in (running, waiting):
        accepted.result(PATIENCE_SECONDS)


def test_a_job_that_has_waited_too_long_is_refused_and_the_queue_is_overdue(start):
    supervisor = ready(start(fault_injection=True, max_wait_seconds=1, job_timeout_seconds=6))
    stuck = supervisor.submit(Job(SHORT.source + b"ccmusic-fault:lock", WindowPlan(), False))
    wait_until(lambda: busy(supervisor) is not None, "the job has begun")
    with pytest.raises(Overloaded, match="no worker was free"):
        supervisor.submit(SHORT).result(PATIENCE_SECONDS)
    assert supervisor.state().queue_overdue
    with pytest.raises(Overloaded, match="longer than"):
        supervisor.submit(SHORT)
    with pytest.raises(InferenceTimeout):
        stuck.result(PATIENCE_SECONDS)
    wait_until(lambda: not supervisor.state().queue_overdue, "the queue is not overdue any more")
    assert ready(supervisor).submit(SHORT).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]


def test_the_queue_is_bounded_and_a_cancelled_job_frees_its_place(start):
    supervisor = ready(start(max_queue=2))
    running = supervisor.submit(VERY_LONG)
    wait_until(lambda: supervisor.state().workers[0].state == "busy", "the job has begun")
    waiting = supervisor.submit(SHORT)
    with pytest.raises(Overloaded, match="2 recordings are waiting"):
        supervisor.submit(SHORT)
    assert waiting.cancel()
    assert isinstance(supervisor.submit(SHORT), Future)
    assert running.result(PATIENCE_SECONDS).duration_seconds == 1200.0


def of(client: str, job: Job = SHORT) -> Job:
    return replace(job, client=client)


def test_one_client_cannot_fill_the_queue(start):
    supervisor = ready(start(max_queue=3, max_wait_seconds=PATIENCE_SECONDS))
    running = supervisor.submit(of("greedy", VERY_LONG))
    wait_until(lambda: busy(supervisor) is not None, "the job has begun")
    waiting = [supervisor.submit(of("greedy")) for _ in range(2)]
    with pytest.raises(Overloaded, match="3 recordings are waiting"):
        supervisor.submit(of("greedy"))
    modest = supervisor.submit(of("modest"))
    with pytest.raises(Overloaded, match="other clients have fewer"):
        waiting[1].result(0)
    for each in (running, waiting[0], modest):
        each.result(PATIENCE_SECONDS)


def test_a_client_whose_recordings_end_workers_again_and_again_is_refused_for_a_time(start):
    supervisor = ready(start(workers=2, fault_injection=True, suspect_recordings=1, suspect_pause_seconds=600))
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    for number, refusal in enumerate((Quarantined, TooManyRequests)):  # the second is not tried again
        poison = Job(wav(tone(220.0 + number, 1.0)) + b"ccmusic-fault:exit", WindowPlan(), False, client="stranger")
        with pytest.raises(refusal):
            supervisor.submit(poison).result(PATIENCE_SECONDS)
    with pytest.raises(TooManyRequests, match="again and again") as caught:
        supervisor.submit(of("stranger"))
    assert 500 < caught.value.retry_after_seconds <= 600
    assert ready(supervisor).submit(of("modest")).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]
