"""Workers that are marked failed: frozen, past a deadline, with wrong answers, without memory."""

import os
import resource
import signal
from pathlib import Path

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import InferenceTimeout, NonFiniteOutput, OutOfMemory
from ccmusic.genres import LABELS
from ccmusic.workers.channel import Job
from support.recordings import tone, wav
from support.supervised import LONG, SHORT, VERY_LONG, busy, ready
from support.waiting import PATIENCE_SECONDS, wait_until


@pytest.fixture(autouse=True)
def time_for_a_dump(monkeypatch):
    """On a busy machine a stuck worker begins its stack dump late."""
    monkeypatch.setattr("ccmusic.workers.worker_process.DUMP_SECONDS", 60.0)
    monkeypatch.setattr("ccmusic.workers.worker_process.FAILURE_SECONDS", 90.0)  # of one thread that waits for another


def test_a_frozen_worker_has_no_heartbeat_and_is_replaced_with_a_stack_dump(start):
    supervisor = ready(start())
    wait_until(lambda: supervisor.state().workers[0].stage == "idle", "it waits for work")
    os.kill(supervisor.state().workers[0].pid, signal.SIGSTOP)
    wait_until(lambda: supervisor.state().restart_counts["heartbeat"] == 1, "the worker is marked failed")
    wait_until(lambda: bool(supervisor.state().stack_dumps), "its stack is kept")
    assert "in stage idle" in supervisor.state().restarts[0].cause
    assert "most recent call first" in supervisor.state().stack_dumps[0].text
    assert ready(supervisor).submit(SHORT).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]


def test_a_frozen_worker_with_a_job_is_replaced_with_a_stack_dump(start):
    """It is resumed for the stack dump and may even finish its job, but it is replaced."""
    supervisor = ready(start())
    future = supervisor.submit(VERY_LONG)
    wait_until(lambda: busy(supervisor) is not None, "the job has begun")
    os.kill(supervisor.state().workers[0].pid, signal.SIGSTOP)
    assert future.result(PATIENCE_SECONDS).duration_seconds == 1200.0
    wait_until(lambda: bool(supervisor.state().stack_dumps), "its stack is kept")
    assert supervisor.state().restart_counts["heartbeat"] == 1


def test_native_code_that_holds_the_interpreters_lock_is_noticed(start):
    supervisor = ready(start(fault_injection=True))
    supervisor.inject("hold-gil")
    wait_until(lambda: supervisor.state().restart_counts["heartbeat"] == 1, "the worker is marked failed")
    wait_until(lambda: bool(supervisor.state().stack_dumps), "its stack is kept")
    assert "_hold_gil" in supervisor.state().stack_dumps[0].text


def test_a_job_past_its_deadline_is_stopped_its_stack_kept_and_its_worker_replaced(start):
    supervisor = ready(start(job_timeout_seconds=2, fault_injection=True))
    future = supervisor.submit(Job(SHORT.source + b"ccmusic-fault:lock", WindowPlan(), False))
    with pytest.raises(InferenceTimeout, match="stopped after 2 seconds"):
        future.result(PATIENCE_SECONDS)
    wait_until(lambda: bool(supervisor.state().stack_dumps), "its stack is kept")
    assert supervisor.state().stack_dumps[0].reason == "deadline"
    assert "in before" in supervisor.state().stack_dumps[0].text  # the function that waits for the lock
    assert ready(supervisor).submit(SHORT).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]


def test_a_busy_worker_is_not_marked_failed(start):
    """Its heartbeat continues while native code works, and it gets no self-test meanwhile."""
    supervisor = ready(start(heartbeat_seconds=0.5, self_test_seconds=0.2))
    for _ in range(3):
        supervisor.submit(LONG).result(PATIENCE_SECONDS)
    assert supervisor.state().workers[0].restarts == 0
    assert supervisor.state().self_test.failures == 0


def test_a_worker_with_a_flipped_bit_in_memory_is_replaced(start):
    supervisor = ready(start(fault_injection=True, self_test_seconds=0.3))
    assert supervisor.inject("corrupt-weights") > 0
    wait_until(lambda: supervisor.state().restart_counts["self_test"] == 1, "the worker is marked failed")
    assert "not bit-equal" in supervisor.state().restarts[0].cause
    ready(supervisor)
    tested = supervisor.state().self_test
    assert tested.passed
    assert tested.failures == 1


def test_nan_weights_fail_the_request_and_the_worker_is_replaced(start):
    supervisor = ready(start(fault_injection=True, self_test_seconds=100.0))
    assert supervisor.inject("nan-weights") > 0
    with pytest.raises(NonFiniteOutput):
        supervisor.submit(SHORT).result(PATIENCE_SECONDS)
    wait_until(lambda: supervisor.state().restart_counts["non_finite"] == 1, "the worker is marked failed")
    assert ready(supervisor).submit(SHORT).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]


def test_a_worker_without_memory_is_replaced(start):
    supervisor = ready(start())
    pid = supervisor.state().workers[0].pid
    mapped = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    limit = mapped + 24 * 2**20  # enough for the small file, but not for its large waveform
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    small = Job(wav(tone(440, 600.0), form="FLAC"), WindowPlan(), False)
    with pytest.raises(OutOfMemory):
        supervisor.submit(small).result(PATIENCE_SECONDS)
    wait_until(lambda: supervisor.state().restart_counts["out_of_memory"] == 1, "the worker is marked failed")
    assert ready(supervisor).submit(SHORT).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]


def test_a_worker_that_has_grown_is_replaced_after_its_job(start):
    supervisor = ready(start(fault_injection=True, recycle_growth_bytes=100 * 2**20))
    supervisor.inject("leak", size=60)
    for _ in range(4):  # each is answered
        assert supervisor.submit(SHORT).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]
    wait_until(lambda: supervisor.state().restart_counts["memory_growth"] >= 1, "it has been replaced")
    counts = supervisor.state().restart_counts
    assert sum(counts.values()) == counts["memory_growth"]


def test_an_answer_of_a_changed_network_is_not_given(start):
    supervisor = ready(start(fault_injection=True, self_test_seconds=100.0))
    right = supervisor.submit(SHORT).result(PATIENCE_SECONDS)
    assert supervisor.inject("corrupt-weights", size=24) > 0
    answer = supervisor.submit(SHORT).result(PATIENCE_SECONDS)  # from its replacement
    assert (answer.probabilities[16] == right.probabilities[16]).all()
    assert supervisor.state().restart_counts["self_test"] == 1
    assert "canary clip" in supervisor.state().restarts[-1].cause
    assert supervisor.state().n_quarantined == 0
