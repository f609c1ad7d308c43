import os
import signal
from concurrent.futures import Future

import pytest

from bands_model import write_model
from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import EmptyAudio, InferenceTimeout, ModelNotReady, Overloaded, WorkerDied
from ccmusic.genres import LABELS
from ccmusic.workers.channel import Job
from ccmusic.workers.supervisor import Supervisor
from recordings import bin_frequency, tone, wav
from waiting import wait_until

SHORT = Job(wav(tone(bin_frequency(37), 1.0)), WindowPlan(), False)
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
    wait_until(lambda: any(w.state == "idle" for w in supervisor.workers), "a worker is idle")
    return supervisor


def test_refuses_while_loading_and_answers_once_ready(start):
    supervisor = start()
    assert supervisor.model_status == "loading"
    with pytest.raises(ModelNotReady, match=r"Model is still loading\.\.\."):
        supervisor.submit(SHORT)
    result = ready(supervisor).submit(SHORT).result(30)
    assert result.predictions()[0].genre == LABELS[7]
    assert result.timings["queue"] >= 0
    assert supervisor.model.name == "bands"


def test_a_bad_recording_fails_its_own_job_only(start):
    supervisor = ready(start())
    with pytest.raises(EmptyAudio):
        supervisor.submit(Job(b"", WindowPlan(), False)).result(30)
    assert supervisor.submit(SHORT).result(30).predictions()[0].genre == LABELS[7]
    assert supervisor.workers[0].restarts == 0


def test_an_idle_worker_that_dies_is_replaced(start):
    supervisor = ready(start())
    pid = supervisor.workers[0].pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: supervisor.workers[0].pid not in (pid, None), "another process took its place")
    assert ready(supervisor).submit(SHORT).result(30).predictions()[0].genre == LABELS[7]
    assert supervisor.workers[0].restarts == 1


def test_a_worker_that_dies_at_work_fails_that_job_and_is_replaced(start):
    supervisor = ready(start())
    future = supervisor.submit(LONG)
    wait_until(lambda: supervisor.workers[0].state == "busy", "the job has begun")
    os.kill(supervisor.workers[0].pid, signal.SIGKILL)
    with pytest.raises(WorkerDied, match="SIGKILL"):
        future.result(30)
    # accepted while the worker is being replaced, and answered by its successor
    assert supervisor.submit(SHORT).result(30).predictions()[0].genre == LABELS[7]


def test_a_job_past_its_deadline_is_stopped_and_its_worker_replaced(start):
    supervisor = ready(start(job_timeout_seconds=0.3))
    pid = supervisor.workers[0].pid
    future = supervisor.submit(SHORT)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(InferenceTimeout, match=r"stopped after 0\.3 seconds"):
        # the frozen worker may have answered just before it froze; then freezing it again is not needed: ask once more
        future.result(30)
        supervisor.submit(SHORT).result(30)
    wait_until(lambda: supervisor.workers[0].pid not in (pid, None), "another process took its place")


def test_the_queue_is_bounded_and_a_cancelled_job_frees_its_place(start):
    supervisor = ready(start(max_queue=2))
    running = supervisor.submit(LONG)
    wait_until(lambda: supervisor.workers[0].state == "busy", "the job has begun")
    waiting = supervisor.submit(SHORT)
    with pytest.raises(Overloaded, match="2 recordings are waiting"):
        supervisor.submit(SHORT)
    assert waiting.cancel()
    assert isinstance(supervisor.submit(SHORT), Future)
    os.kill(supervisor.workers[0].pid, signal.SIGKILL)  # no need to wait for the long job
    with pytest.raises(WorkerDied):
        running.result(30)


def test_a_load_that_fails_is_told_and_tried_again_until_it_succeeds(start, tmp_path):
    directory = tmp_path / "late"
    supervisor = start(model=str(directory))
    wait_until(lambda: supervisor.model_status == "error", "loading failed")
    assert supervisor.load_error == f"Model file not found: {directory}"
    with pytest.raises(ModelNotReady, match="Model loading failed: Model file not found"):
        supervisor.submit(SHORT)
    write_model(directory)
    assert ready(supervisor).model_status == "ready"
    assert supervisor.load_error is None


def test_stop_leaves_no_process(make_settings):
    supervisor = Supervisor(make_settings(workers=2))
    supervisor.start()
    wait_until(lambda: all(w.state == "idle" for w in supervisor.workers), "both are idle")
    pids = [worker.pid for worker in supervisor.workers]
    supervisor.stop()
    wait_until(lambda: not any(_runs(pid) for pid in pids), "both have ended", timeout_seconds=5)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
