import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.workers import message_stream, worker_process
from ccmusic.workers.channel import Job, SelfTest, SelfTested
from ccmusic.workers.forked_process import UNKNOWN_EXIT
from ccmusic.workers.message_stream import stream_pair
from ccmusic.workers.worker import EXIT_OUT_OF_MEMORY
from ccmusic.workers.worker_process import MAX_DUMP_BYTES, WorkerProcess, cause_of_exit
from support.fake_clock import FakeProcess
from support.waiting import wait_until


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
    for module in (worker_process, message_stream):
        monkeypatch.setattr(module, "CLOCK", process.clock)
    return process


@pytest.fixture
def worker():
    """A worker process without a process: only its connection."""
    worker = object.__new__(WorkerProcess)
    worker.connection, worker.other_end = stream_pair()
    worker.lost = False
    yield worker
    worker.connection.close()
    worker.other_end.close()


@pytest.fixture
def replace_poll(monkeypatch):
    """Replaces the system's wait; the function gets seconds."""

    def replace(wait) -> None:
        poll = SimpleNamespace(register=lambda *_: None, poll=lambda milliseconds: wait(milliseconds / 1000))
        monkeypatch.setattr(message_stream, "select", SimpleNamespace(POLLIN=1, POLLOUT=4, poll=lambda: poll))

    return replace


def test_a_reply_after_a_pause_is_in_time(worker, process, replace_poll):
    """A wait of the system ends during the pause, but the worker had no time to answer."""
    asked = []

    def wait(seconds):
        asked.append(seconds)
        if len(asked) == 1:
            process.stop(60.0)
            return []
        worker.other_end.send(SelfTested(0.1))
        return [worker.connection]

    replace_poll(wait)
    assert worker.request(SelfTest(), 30.0) == SelfTested(0.1)
    assert asked == [30.0, pytest.approx(29.75, abs=0.1)]


def test_no_reply_in_time_is_an_error(worker, process, replace_poll):
    replace_poll(process.run)
    with pytest.raises(TimeoutError):
        worker.request(SelfTest(), 30.0)


def test_a_worker_that_does_not_read_its_order_is_an_error(worker, process, replace_poll):
    replace_poll(process.run)
    with pytest.raises(TimeoutError):
        worker.request(Job(bytes(2**23), WindowPlan(), False), 30.0)


def test_a_stack_dump_without_end_is_cut(worker, process):
    worker._dump, end = multiprocessing.Pipe(duplex=False)

    def write() -> None:
        with suppress(OSError):
            while True:
                os.write(end.fileno(), bytes(65536))

    thread = threading.Thread(target=write)
    thread.start()
    wait_until(worker._dump.poll, "the first bytes")
    assert len(worker._read_dump(0.0)) <= MAX_DUMP_BYTES
    worker._dump.close()
    thread.join()
    end.close()
