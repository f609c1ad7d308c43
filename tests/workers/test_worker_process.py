import multiprocessing
import signal

import pytest

from ccmusic.workers import worker_process
from ccmusic.workers.channel import SelfTested
from ccmusic.workers.forked_process import UNKNOWN_EXIT
from ccmusic.workers.worker import EXIT_OUT_OF_MEMORY
from ccmusic.workers.worker_process import WorkerProcess, cause_of_exit
from support.fake_clock import FakeProcess


@pytest.mark.parametrize(
    ("code", "reason", "cause"),
    [
        (None, "crashed", "has not ended"),
        (0, "crashed", "exit code 0"),
        (3, "crashed", "exit code 3"),
        (EXIT_OUT_OF_MEMORY, "out_of_memory", "not enough memory"),
        (-signal.SIGKILL, "killed", "SIGKILL"),
        (-signal.SIGPROF, "bound", "more processor time"),
        (-signal.SIGSEGV, "crashed", "SIGSEGV"),
        (-signal.SIGABRT, "crashed", "SIGABRT"),
        (UNKNOWN_EXIT, "crashed", "fork server"),
    ],
)
def test_each_exit_code_has_a_reason_and_a_cause(code, reason, cause):
    assert cause_of_exit(code)[0] == reason
    assert cause in cause_of_exit(code)[1]


@pytest.fixture
def process(monkeypatch):
    process = FakeProcess()
    monkeypatch.setattr(worker_process, "CLOCK", process.clock)
    return process


@pytest.fixture
def worker():
    """A worker process without a process: only its connection."""
    worker = object.__new__(WorkerProcess)
    worker.connection, worker.other_end = multiprocessing.Pipe()
    worker.lost = False
    yield worker
    worker.connection.close()
    worker.other_end.close()


def test_a_reply_after_a_pause_is_in_time(worker, process, monkeypatch):
    """A wait of the system ends during the pause, but the worker had no time to answer."""
    asked = []

    def wait(_, seconds):
        asked.append(seconds)
        if len(asked) == 1:
            process.stop(60.0)
            return []
        worker.other_end.send(SelfTested(0.1))
        return [worker.connection]

    monkeypatch.setattr(worker_process, "wait", wait)
    assert worker.receive(30.0) == SelfTested(0.1)
    assert asked == [30.0, pytest.approx(29.75, abs=0.1)]


def test_no_reply_in_time_is_an_error(worker, process, monkeypatch):
    monkeypatch.setattr(worker_process, "wait", lambda _, seconds: process.run(seconds))
    with pytest.raises(TimeoutError):
        worker.receive(30.0)
