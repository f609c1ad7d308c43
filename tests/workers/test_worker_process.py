import itertools
import math
import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.health.waits import ThreadTimes
from ccmusic.workers import message_stream, worker_process
from ccmusic.workers.channel import Job, SelfTest, SelfTested
from ccmusic.workers.forked_process import UNKNOWN_EXIT
from ccmusic.workers.message_stream import stream_pair
from ccmusic.workers.worker import EXIT_OUT_OF_MEMORY
from ccmusic.workers.worker_process import (
    DUMP_PAUSE_SECONDS,
    DUMP_SECONDS,
    MAX_DUMP_BYTES,
    WorkerProcess,
    cause_of_exit,
)
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


@pytest.fixture
def waits(worker, process, monkeypatch, replace_poll):
    """Lets the worker's threads spend each wait for its reply in these states; one is always the main thread."""

    def spend(*states: str) -> None:
        worker.pid = 1
        spent = 0.0

        def wait(seconds):
            nonlocal spent
            process.run(seconds)
            spent += seconds
            return []

        def times(pid):
            assert pid == worker.pid
            waited = {"waits": spent, "runs": 0.0, "sleeps": 0.0}
            ran = {"waits": 0.0, "runs": spent, "sleeps": 0.0}
            letters = {"waits": "R", "runs": "R", "sleeps": "S"}
            return {str(i): ThreadTimes(ran[s], waited[s], letters[s]) for i, s in enumerate(states, 1)}

        replace_poll(wait)
        monkeypatch.setattr(worker_process, "thread_times", times)

    return spend


@pytest.mark.parametrize("states", [("waits", "sleeps"), ("sleeps", "waits")], ids=["itself", "who has the lock"])
def test_the_limit_of_a_self_test_leaves_out_the_time_in_which_the_worker_waits_for_a_processor(
    worker, process, waits, states
):
    waits(*states)
    receive, began = worker._receive, process.clock.now()

    def receive_late(kinds, seconds):
        if process.clock.now() - began > 300.0:
            worker.other_end.send(SelfTested(0.1))
        return receive(kinds, seconds)

    worker._receive = receive_late
    assert worker.check(SelfTest(), 30.0) == SelfTested(0.1)


@pytest.mark.parametrize("states", [("runs", "sleeps"), ("sleeps", "sleeps")], ids=["busy", "stuck"])
def test_a_self_test_that_takes_too_long_by_itself_is_an_error(worker, process, waits, states):
    waits(*states)
    began = process.clock.now()
    with pytest.raises(TimeoutError):
        worker.check(SelfTest(), 30.0)
    assert process.clock.now() - began == pytest.approx(30.0, abs=0.6)


def test_a_reply_that_came_while_this_thread_waited_for_a_processor_is_in_time(worker, process, waits, monkeypatch):
    waits("sleeps")

    def times(pid):
        if process.clock.now() > began:
            process.run(60.0)
            worker.other_end.send(SelfTested(0.1))
        return {}

    began = process.clock.now()
    monkeypatch.setattr(worker_process, "thread_times", times)
    assert worker.check(SelfTest(), 30.0) == SelfTested(0.1)


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


@pytest.fixture
def dump_pipe(worker):
    """The end of a worker's pipe for stack dumps that the worker writes to."""
    worker._dump, end = multiprocessing.Pipe(duplex=False)
    yield end
    worker._dump.close()
    end.close()


def writes(process, end, dump):
    """Replaces the wait: after each pause in seconds the worker writes the text beside it, if the wait is that long."""

    def wait(files, seconds):
        after, text = next(dump, (math.inf, b""))
        process.run(min(after, seconds))
        if after > seconds:
            return []
        os.write(end.fileno(), text)
        return files

    return wait


def test_a_worker_that_waits_for_a_processor_may_dump_its_stacks_late_and_with_pauses(
    worker, process, dump_pipe, monkeypatch
):
    pause = 0.9 * DUMP_PAUSE_SECONDS
    dump = iter([(0.95 * DUMP_SECONDS, b"Thread 1"), (pause, b", Thread 2"), (pause, b", Thread 3")])
    monkeypatch.setattr(worker_process, "wait", writes(process, dump_pipe, dump))
    began = process.clock.now()
    assert worker._read_dump(DUMP_SECONDS) == "Thread 1, Thread 2, Thread 3"
    assert process.clock.now() - began == pytest.approx(0.95 * DUMP_SECONDS + 2 * pause + DUMP_PAUSE_SECONDS, abs=0.01)


def test_a_stack_dump_that_does_not_begin_or_end_is_given_up(worker, process, dump_pipe, monkeypatch):
    monkeypatch.setattr(worker_process, "wait", writes(process, dump_pipe, iter([])))
    began = process.clock.now()
    assert worker._read_dump(DUMP_SECONDS) is None
    assert process.clock.now() - began == pytest.approx(DUMP_SECONDS, abs=0.01)
    endless = itertools.repeat((0.9 * DUMP_PAUSE_SECONDS, b"."))
    monkeypatch.setattr(worker_process, "wait", writes(process, dump_pipe, endless))
    began = process.clock.now()
    assert worker._read_dump(DUMP_SECONDS)
    assert process.clock.now() - began < DUMP_SECONDS + 2 * DUMP_PAUSE_SECONDS
