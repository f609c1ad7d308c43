"""A supervisor with real workers: its start, its answers and its end."""

import threading

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import EmptyAudio, InvalidParameter, ModelNotReady
from ccmusic.genres import LABELS
from ccmusic.workers import supervisor as supervisor_module
from ccmusic.workers.channel import Job
from ccmusic.workers.supervisor import Supervisor
from support.fake_clock import FakeProcess
from support.supervised import SHORT, ready, runs
from support.waiting import PATIENCE_SECONDS, wait_until


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


def test_faults_need_their_setting(start):
    supervisor = start(faults="exit-at-start")
    with pytest.raises(InvalidParameter, match="fault_injection is off"):
        supervisor.inject("kill")
    # a recording with a fault marker is like any other
    ready(supervisor).submit(Job(SHORT.source + b"ccmusic-fault:segfault", WindowPlan(), False)).result(
        PATIENCE_SECONDS
    )
    assert supervisor.state().workers[0].restarts == 0


def test_stop_leaves_no_process(make_settings):
    supervisor = Supervisor(make_settings(workers=2))
    supervisor.start()
    wait_until(lambda: all(w.state == "idle" for w in supervisor.state().workers), "both are idle")
    pids = [worker.pid for worker in supervisor.state().workers]
    supervisor.stop()
    wait_until(lambda: not any(runs(pid) for pid in pids), "both have ended")


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
