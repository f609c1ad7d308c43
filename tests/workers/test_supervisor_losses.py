"""Processes that are lost: workers that end or are killed, and their fork server."""

import os
import signal
from types import SimpleNamespace

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import Quarantined, TooCostly
from ccmusic.genres import LABELS
from ccmusic.health.clock import CLOCK
from ccmusic.serving.checks import crash_loop_check
from ccmusic.workers.channel import Job
from support.hostile_files import mkv_tags
from support.supervised import SHORT, VERY_LONG, busy, parent_of, ready, runs, seen, working
from support.waiting import PATIENCE_SECONDS, wait_until


def test_an_idle_worker_that_dies_is_replaced(start):
    supervisor = ready(start())
    pid = supervisor.state().workers[0].pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: supervisor.state().workers[0].pid not in (pid, None), "another process took its place")
    assert ready(supervisor).submit(SHORT).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]
    assert supervisor.state().workers[0].restarts == 1


def test_a_job_of_a_lost_worker_is_done_by_another(start):
    supervisor = ready(start(workers=2))
    future = supervisor.submit(VERY_LONG)
    index = seen(busy, supervisor)
    os.kill(supervisor.state().workers[index].pid, signal.SIGKILL)
    assert future.result(PATIENCE_SECONDS).duration_seconds == 1200.0
    assert supervisor.state().restart_counts["killed"] == 1
    assert supervisor.state().restarts[-1].worker == index
    assert "SIGKILL" in supervisor.state().restarts[-1].cause
    assert supervisor.state().n_quarantined == 0  # a worker has processed it


def test_two_workers_lost_at_once_do_not_quarantine_their_recording(start):
    supervisor = start(workers=2)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    futures = [supervisor.submit(VERY_LONG) for _ in range(2)]
    wait_until(lambda: all(w.state == "busy" for w in supervisor.state().workers), "both have begun")
    for worker in supervisor.state().workers:
        os.kill(worker.pid, signal.SIGKILL)
    assert [future.result(PATIENCE_SECONDS).duration_seconds for future in futures] == [1200.0, 1200.0]
    assert supervisor.state().n_quarantined == 0


def test_a_recording_lost_twice_with_every_worker_is_not_quarantined(start, monkeypatch):
    minutes = 0
    monkeypatch.setattr("ccmusic.workers.roster.CLOCK", SimpleNamespace(now=lambda: CLOCK.now() + 60 * minutes))
    # so that a busy machine, too, notices both losses in this time
    monkeypatch.setattr("ccmusic.workers.roster.NOTICE_SECONDS", 2.0)
    monkeypatch.setattr("ccmusic.workers.roster.TOGETHER_SECONDS", 30.0)
    supervisor = start(workers=2, self_test_seconds=600.0)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    future = supervisor.submit(VERY_LONG)
    for n_lost in (2, 4):
        minutes += 1  # the losses before this are long ago
        wait_until(lambda: working(supervisor) is not None and supervisor.state().n_ready == 2, "the job has begun")
        for worker in supervisor.state().workers:
            os.kill(worker.pid, signal.SIGKILL)
        wait_until(lambda n=n_lost: supervisor.state().restart_counts["killed"] == n, "both are lost")
    assert future.result(PATIENCE_SECONDS).duration_seconds == 1200.0
    assert supervisor.state().n_quarantined == 0


def test_a_worker_that_ends_before_it_begins_a_job_does_not_count_against_the_recording(start, monkeypatch):
    """Its stage may still be that of the order before, if it is killed between two orders."""
    monkeypatch.setattr("ccmusic.workers.roster.TOGETHER_SECONDS", 0.0)  # each loss counts alone
    supervisor = start(workers=2, heartbeat_seconds=30.0, self_test_seconds=600.0)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    future = supervisor.submit(VERY_LONG)
    first = seen(working, supervisor)
    other = 1 - first
    pid = supervisor.state().workers[other].pid
    os.kill(pid, signal.SIGSTOP)  # so that it begins nothing
    supervisor.pool.slots[other].process.heartbeat.enter("reply")
    os.kill(supervisor.state().workers[first].pid, signal.SIGKILL)
    wait_until(lambda: supervisor.state().workers[other].state == "busy", "the job was handed to the other")
    os.kill(pid, signal.SIGKILL)
    assert future.result(PATIENCE_SECONDS).duration_seconds == 1200.0
    assert supervisor.state().n_quarantined == 0


def test_two_workers_killed_shortly_after_each_other_do_not_quarantine_their_recording(start, monkeypatch):
    monkeypatch.setattr("ccmusic.workers.roster.TOGETHER_SECONDS", 30.0)
    supervisor = start(workers=2)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    future = supervisor.submit(VERY_LONG)
    for n in range(2):
        os.kill(supervisor.state().workers[seen(working, supervisor)].pid, signal.SIGKILL)
        wait_until(lambda n=n: supervisor.state().restart_counts["killed"] == n + 1, "the loss is recorded")
    assert future.result(PATIENCE_SECONDS).duration_seconds == 1200.0
    assert supervisor.state().n_quarantined == 0


def test_a_recording_that_reaches_the_kernels_bound_costs_nobody_else_an_answer(start):
    supervisor = ready(start(max_wait_seconds=PATIENCE_SECONDS, request_timeout_seconds=PATIENCE_SECONDS))
    hostile = Job(mkv_tags(50_000), WindowPlan(), False)
    answers = [supervisor.submit(job) for job in (SHORT, hostile, SHORT)]
    with pytest.raises(TooCostly, match="more processor time"):
        answers[1].result(PATIENCE_SECONDS)
    for answer in (answers[0], answers[2]):
        assert answer.result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]
    state = supervisor.state()
    assert {reason: count for reason, count in state.restart_counts.items() if count} == {"bound": 1}
    assert state.restarts[-1].job is not None
    assert crash_loop_check(state).status == "pass"
    with pytest.raises(Quarantined):
        supervisor.refuse_quarantined(hostile)
    wait_until(lambda: bool(supervisor.state().stack_dumps), "the stack is kept")
    assert "decoders.py" in supervisor.state().stack_dumps[-1].text


def test_a_recording_that_ends_two_workers_is_refused_from_then_on(start):
    supervisor = ready(start(fault_injection=True))
    poison = Job(SHORT.source + b"ccmusic-fault:segfault", WindowPlan(), False)
    with pytest.raises(Quarantined, match="ended two workers"):
        supervisor.submit(poison).result(PATIENCE_SECONDS)
    assert supervisor.state().restart_counts["crashed"] == 2
    assert supervisor.state().n_quarantined == 1
    with pytest.raises(Quarantined):
        supervisor.refuse_quarantined(poison)
    supervisor.refuse_quarantined(SHORT)  # another recording is accepted
    assert ready(supervisor).submit(SHORT).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]
    wait_until(lambda: len(supervisor.state().stack_dumps) == 2, "both stacks are kept")
    assert "Segmentation fault" in supervisor.state().stack_dumps[-1].text


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_workers_live_on_when_their_fork_server_is_lost_and_another_one_replaces_them(start, number):
    supervisor = start(workers=2)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    pids = [worker.pid for worker in supervisor.state().workers]
    server = parent_of(pids[0])
    assert server != os.getpid()
    os.kill(server, number)
    wait_until(lambda: supervisor.state().fork_server.cause is not None, "the loss is noticed")
    assert supervisor.submit(SHORT).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]
    wait_until(lambda: supervisor.state().fork_server.cause is None, "another one is ready")
    assert [worker.pid for worker in supervisor.state().workers] == pids
    assert not runs(server)
    os.kill(pids[0], signal.SIGKILL)
    wait_until(lambda: supervisor.state().restart_counts["killed"] == 1, "how it ended is known")
    wait_until(lambda: supervisor.state().n_ready == 2, "it is replaced")
    assert not runs(pids[0])
    assert parent_of(supervisor.state().workers[0].pid) not in (server, os.getpid())


def test_a_worker_that_is_killed_while_its_fork_server_is_stopped_is_replaced(start):
    supervisor = start(workers=2)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    pid = supervisor.state().workers[0].pid
    os.kill(parent_of(pid), signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: supervisor.state().restart_counts["killed"] == 1, "how it ended is known")
    wait_until(lambda: supervisor.state().n_ready == 2, "it is replaced")
    wait_until(lambda: not runs(pid), "nothing is left of it")
