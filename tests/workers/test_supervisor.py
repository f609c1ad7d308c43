import os
import resource
import signal
import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import (
    EmptyAudio,
    InferenceTimeout,
    InvalidParameter,
    ModelNotReady,
    NonFiniteOutput,
    OutOfMemory,
    Overloaded,
    Quarantined,
    TooCostly,
    TooManyRequests,
)
from ccmusic.genres import LABELS
from ccmusic.serving.checks import crash_loop_check
from ccmusic.workers import supervisor as supervisor_module
from ccmusic.workers.channel import Job
from ccmusic.workers.pool import Pool
from ccmusic.workers.roster import Roster
from ccmusic.workers.supervisor import Supervisor
from support.bands_model import band_network, write_model
from support.fake_clock import FakeProcess
from support.hostile_files import mkv_tags
from support.recordings import bin_frequency, tone, wav
from support.waiting import PATIENCE_SECONDS, wait_until

SHORT = Job(wav(tone(bin_frequency(37), 1.0)), WindowPlan(), False)
VERY_LONG = Job(wav(tone(440, 1200.0), form="FLAC"), WindowPlan(count=1000), False)
LONG = Job(wav(tone(440, 240.0)), WindowPlan(count=1000), False)


@pytest.fixture
def start(make_settings):
    started = []

    def begin(**changes) -> Supervisor:
        supervisor = Supervisor(make_settings(**changes))
        started.append(supervisor)
        supervisor.start()
        return supervisor

    yield begin
    for supervisor in started:
        supervisor.stop()


def ready(supervisor: Supervisor) -> Supervisor:
    wait_until(lambda: any(w.state == "idle" for w in supervisor.state().workers), "a worker is idle")
    return supervisor


def busy(supervisor: Supervisor) -> int | None:
    return next((w.index for w in supervisor.state().workers if w.state == "busy"), None)


def working(supervisor: Supervisor) -> int | None:
    """The index of a worker that is processing a recording, as its stage shows."""
    return next((w.index for w in supervisor.state().workers if w.state == "busy" and w.stage != "idle"), None)


def test_refuses_while_loading_and_answers_once_ready(start):
    supervisor = start()
    assert supervisor.state().model_status == "loading"
    with pytest.raises(ModelNotReady, match=r"Model is still loading\.\.\."):
        supervisor.submit(SHORT)
    result = ready(supervisor).submit(SHORT).result(PATIENCE_SECONDS)
    assert result.predictions()[0].genre == LABELS[7]
    assert result.timings["queue"] >= 0
    assert supervisor.state().served.identity.name == "bands"


def test_a_bad_recording_fails_its_own_job_only(start):
    supervisor = ready(start())
    with pytest.raises(EmptyAudio):
        supervisor.submit(Job(b"", WindowPlan(), False)).result(PATIENCE_SECONDS)
    assert supervisor.submit(SHORT).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]
    assert supervisor.state().workers[0].restarts == 0


def test_an_idle_worker_that_dies_is_replaced(start):
    supervisor = ready(start())
    pid = supervisor.state().workers[0].pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: supervisor.state().workers[0].pid not in (pid, None), "another process took its place")
    assert ready(supervisor).submit(SHORT).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]
    assert supervisor.state().workers[0].restarts == 1


def test_a_job_of_a_lost_worker_is_done_by_another(start):
    supervisor = ready(start(workers=2))
    future = supervisor.submit(LONG)
    wait_until(lambda: busy(supervisor) is not None, "the job has begun")
    index = busy(supervisor)
    os.kill(supervisor.state().workers[index].pid, signal.SIGKILL)
    assert future.result(PATIENCE_SECONDS).duration_seconds == 240.0
    assert supervisor.state().restart_counts["killed"] == 1
    assert supervisor.state().restarts[-1].worker == index
    assert "SIGKILL" in supervisor.state().restarts[-1].cause
    assert supervisor.state().n_quarantined == 0  # a worker has processed it


def test_two_workers_lost_at_once_do_not_quarantine_their_recording(start):
    supervisor = start(workers=2)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    futures = [supervisor.submit(LONG) for _ in range(2)]
    wait_until(lambda: all(w.state == "busy" for w in supervisor.state().workers), "both have begun")
    for worker in supervisor.state().workers:
        os.kill(worker.pid, signal.SIGKILL)
    assert [future.result(PATIENCE_SECONDS).duration_seconds for future in futures] == [240.0, 240.0]
    assert supervisor.state().n_quarantined == 0


def test_a_recording_lost_twice_with_every_worker_is_not_quarantined(start):
    supervisor = start(workers=2)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    future = supervisor.submit(VERY_LONG)
    for _ in range(2):
        wait_until(lambda: busy(supervisor) is not None and supervisor.state().n_ready == 2, "the job has begun")
        for worker in supervisor.state().workers:
            os.kill(worker.pid, signal.SIGKILL)
        wait_until(lambda: supervisor.state().n_ready == 0, "both are lost")
    assert future.result(PATIENCE_SECONDS).duration_seconds == 1200.0
    assert supervisor.state().n_quarantined == 0


def test_a_worker_that_ends_before_it_begins_a_job_does_not_count_against_the_recording(start, monkeypatch):
    """Its stage may still be that of the order before, if it is killed between two orders."""
    monkeypatch.setattr("ccmusic.workers.roster.TOGETHER_SECONDS", 0.0)  # each loss counts alone
    supervisor = start(workers=2, heartbeat_seconds=30.0, self_test_seconds=600.0)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    future = supervisor.submit(LONG)
    wait_until(lambda: working(supervisor) is not None, "the job has begun")
    first = working(supervisor)
    other = 1 - first
    pid = supervisor.state().workers[other].pid
    os.kill(pid, signal.SIGSTOP)  # so that it begins nothing
    supervisor.pool.slots[other].process.heartbeat.enter("reply")
    os.kill(supervisor.state().workers[first].pid, signal.SIGKILL)
    wait_until(lambda: supervisor.state().workers[other].state == "busy", "the job was handed to the other")
    os.kill(pid, signal.SIGKILL)
    assert future.result(PATIENCE_SECONDS).duration_seconds == 240.0
    assert supervisor.state().n_quarantined == 0


def test_two_workers_killed_shortly_after_each_other_do_not_quarantine_their_recording(start, monkeypatch):
    monkeypatch.setattr("ccmusic.workers.roster.TOGETHER_SECONDS", 30.0)
    supervisor = start(workers=2)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    future = supervisor.submit(VERY_LONG)
    for n in range(2):
        wait_until(lambda: working(supervisor) is not None, "the job has begun")
        os.kill(supervisor.state().workers[working(supervisor)].pid, signal.SIGKILL)
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
    future = supervisor.submit(LONG)
    wait_until(lambda: busy(supervisor) is not None, "the job has begun")
    os.kill(supervisor.state().workers[0].pid, signal.SIGSTOP)
    assert future.result(PATIENCE_SECONDS).duration_seconds == 240.0
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


def test_a_crash_loop_is_reported_and_ends_with_its_cause(start):
    supervisor = start(fault_injection=True, faults="exit-at-start")
    wait_until(lambda: supervisor.state().restart_counts["load"] >= 3, "three starts have failed")
    assert supervisor.state().model_status == "error"
    assert "ended while loading: ended with exit code 3" in supervisor.state().load_error
    supervisor.clear_faults()
    assert ready(supervisor).state().model_status == "ready"


@pytest.mark.parametrize("skew", ["skew-resampler", "skew-hop", "skew-db"])
def test_a_skewed_pipeline_is_not_ready(start, skew):
    supervisor = start(fault_injection=True, faults=skew)
    wait_until(lambda: supervisor.state().model_status == "error", "loading failed")
    assert "golden clip" in supervisor.state().load_error


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


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
    assert not _runs(server)
    os.kill(pids[0], signal.SIGKILL)
    wait_until(lambda: supervisor.state().restart_counts["killed"] == 1, "how it ended is known")
    wait_until(lambda: supervisor.state().n_ready == 2, "it is replaced")
    assert not _runs(pids[0])
    assert parent_of(supervisor.state().workers[0].pid) not in (server, os.getpid())


def test_a_worker_that_is_killed_while_its_fork_server_is_stopped_is_replaced(start):
    supervisor = start(workers=2)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    pid = supervisor.state().workers[0].pid
    os.kill(parent_of(pid), signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: supervisor.state().restart_counts["killed"] == 1, "how it ended is known")
    wait_until(lambda: supervisor.state().n_ready == 2, "it is replaced")
    wait_until(lambda: not _runs(pid), "nothing is left of it")


def test_a_slot_whose_thread_cannot_be_started_is_started_when_there_is_room(start, monkeypatch):
    refusals = [RuntimeError("can't start new thread")] * 3
    start_thread = threading.Thread.start

    def refuse(thread):
        if refusals and thread.name == "ccmusic-worker-1":
            raise refusals.pop()
        start_thread(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    supervisor = start(workers=2)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    assert supervisor.state().stuck == ()


def test_a_job_that_would_wait_too_long_is_refused_at_once(start):
    supervisor = ready(start(max_wait_seconds=20.0))
    supervisor.pool.roster.note_job_seconds(15.0)  # as if the last recordings had taken so long
    running = supervisor.submit(LONG)
    wait_until(lambda: busy(supervisor) is not None, "the job has begun")
    waiting = supervisor.submit(SHORT)
    with pytest.raises(Overloaded, match="the wait for a worker is longer than 20 s") as refused:
        supervisor.submit(SHORT)
    assert refused.value.retry_after_seconds == pytest.approx(30.0)
    for accepted in (running, waiting):
        accepted.result(PATIENCE_SECONDS)


def test_faults_need_their_setting(start):
    supervisor = start(faults="exit-at-start")
    with pytest.raises(InvalidParameter, match="fault_injection is off"):
        supervisor.inject("kill")
    # a recording with a fault marker is like any other
    ready(supervisor).submit(Job(SHORT.source + b"ccmusic-fault:segfault", WindowPlan(), False)).result(
        PATIENCE_SECONDS
    )
    assert supervisor.state().workers[0].restarts == 0


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
    running = supervisor.submit(LONG)
    wait_until(lambda: supervisor.state().workers[0].state == "busy", "the job has begun")
    waiting = supervisor.submit(SHORT)
    with pytest.raises(Overloaded, match="2 recordings are waiting"):
        supervisor.submit(SHORT)
    assert waiting.cancel()
    assert isinstance(supervisor.submit(SHORT), Future)
    assert running.result(PATIENCE_SECONDS).duration_seconds == 240.0


def of(client: str, job: Job = SHORT) -> Job:
    return replace(job, client=client)


def test_one_client_cannot_fill_the_queue(start):
    supervisor = ready(start(max_queue=3))
    running = supervisor.submit(of("greedy", LONG))
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


def test_a_failed_load_is_reported_and_tried_again_until_it_succeeds(start, tmp_path):
    directory = tmp_path / "late"
    supervisor = start(model=str(directory))
    wait_until(lambda: supervisor.state().model_status == "error", "loading failed")
    assert supervisor.state().load_error == f"Model file not found: {directory}"
    with pytest.raises(ModelNotReady, match="Model loading failed: Model file not found"):
        supervisor.submit(SHORT)
    write_model(directory)
    assert ready(supervisor).state().model_status == "ready"
    assert supervisor.state().load_error is None


def test_a_replaced_model_never_answers_and_the_service_recovers_with_the_files(start, tmp_path):
    directory = write_model(tmp_path / "m")
    supervisor = start(model=str(directory), workers=2)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    served = supervisor.state().served
    write_model(directory, band_network(scale=-0.1), version="0.0.2")
    os.kill(supervisor.state().workers[0].pid, signal.SIGKILL)
    wait_until(lambda: supervisor.state().workers[0].error_code == "model_replaced", "its successor is refused")
    assert "bands 0.0.2" in supervisor.state().workers[0].error
    for _ in range(4):
        answer = supervisor.submit(SHORT).result(PATIENCE_SECONDS)
        assert (answer.predictions()[0].genre, answer.model) == (LABELS[7], served.identity)
    os.kill(supervisor.state().workers[1].pid, signal.SIGKILL)
    wait_until(lambda: supervisor.state().model_status == "error", "no worker is left")
    with pytest.raises(ModelNotReady, match=r"bands 0\.0\.2 .* restore the files"):
        supervisor.submit(SHORT)
    write_model(directory)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    assert supervisor.state().served == served
    assert supervisor.submit(SHORT).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]


def test_workers_that_load_while_the_files_change_hold_one_model(start, tmp_path, monkeypatch):
    """The second worker starts when the first has loaded, and the files are others by then."""
    directory = write_model(tmp_path / "m")
    note_loaded = Roster.note_loaded

    def replace_files(self, index, ready) -> None:
        note_loaded(self, index, ready)
        if index == 0:
            write_model(directory, uncertain_below=0.9)
            supervisor.pool.slots[1].start()

    monkeypatch.setattr(Roster, "note_loaded", replace_files)
    monkeypatch.setattr(Pool, "_start_slots", lambda self: self.slots[0].start())
    supervisor = start(model=str(directory), workers=2)
    wait_until(lambda: supervisor.state().workers[1].error_code == "model_replaced", "the second is refused")
    assert "different: uncertain_below" in supervisor.state().workers[1].error
    assert supervisor.state().n_ready == 1


def test_stop_leaves_no_process(make_settings):
    supervisor = Supervisor(make_settings(workers=2))
    supervisor.start()
    wait_until(lambda: all(w.state == "idle" for w in supervisor.state().workers), "both are idle")
    pids = [worker.pid for worker in supervisor.state().workers]
    supervisor.stop()
    wait_until(lambda: not any(_runs(pid) for pid in pids), "both have ended")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_answer_of_a_changed_network_is_not_given(start):
    supervisor = ready(start(fault_injection=True, self_test_seconds=100.0))
    right = supervisor.submit(SHORT).result(PATIENCE_SECONDS)
    assert supervisor.inject("corrupt-weights", size=24) > 0
    answer = supervisor.submit(SHORT).result(PATIENCE_SECONDS)  # from its replacement
    assert (answer.probabilities[16] == right.probabilities[16]).all()
    assert supervisor.state().restart_counts["self_test"] == 1
    assert "canary clip" in supervisor.state().restarts[-1].cause
    assert supervisor.state().n_quarantined == 0


def test_a_drain_does_not_end_because_of_a_pause(make_settings, monkeypatch):
    process = FakeProcess()
    monkeypatch.setattr(supervisor_module, "CLOCK", process.clock)
    supervisor = Supervisor(make_settings())

    class Answers:
        """The process is stopped during the first wait; the last recording is answered during the second, or never."""

        def __init__(self, *, ever: bool) -> None:
            self.waits = 0
            self.ever = ever

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            pass

        def wait_for(self, done, seconds: float) -> bool:
            self.waits += 1
            if self.waits == 1:
                process.stop(600.0)
            elif self.ever:
                supervisor._in_system = 0
            else:
                process.run(seconds)
            return done()

    for ever in (True, False):
        supervisor._in_system, supervisor._all_answered = 1, Answers(ever=ever)
        assert supervisor.drain(60.0) is ever
