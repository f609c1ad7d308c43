import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ccmusic.health.clock import CLOCK, GAP_SECONDS, RunningClock
from support.fake_clock import FakeProcess
from support.waiting import wait_until


@pytest.fixture
def process():
    return FakeProcess()


def test_it_counts_while_the_process_runs(process):
    before = process.clock.now()
    process.run(10.0)
    assert process.clock.now() - before == pytest.approx(10.0)
    assert process.clock.stopped_seconds == 0.0


def test_it_stands_still_while_the_process_is_stopped(process):
    before = process.clock.now()
    process.stop(60.0)
    assert process.clock.now() - before < GAP_SECONDS + 0.1
    assert process.clock.stopped_seconds > 59.0
    process.run(1.0)
    assert process.clock.now() - before == pytest.approx(1.0 + GAP_SECONDS, abs=0.1)


def test_a_reading_before_the_first_tick_after_a_pause_does_not_count_the_pause_either(process):
    before = process.clock.now()
    process.stop(60.0, tick=False)
    first = process.clock.now()
    assert first - before == pytest.approx(GAP_SECONDS)
    process.clock.tick()
    assert first <= process.clock.now() < first + 0.1


def test_it_counts_while_a_thread_holds_the_lock(process):
    before = process.clock.now()
    process.hold_lock(5.0)
    assert process.clock.now() - before == pytest.approx(5.0)
    assert process.clock.stopped_seconds == 0.0


def test_it_never_decreases(process):
    seen = [process.clock.now()]
    for action in (process.run, process.stop, process.hold_lock) * 2:
        action(3.0)
        seen.append(process.clock.now())
    process.stop(-5.0)  # two threads may read the system's clock in the other order
    seen.append(process.clock.now())
    assert seen == sorted(seen)


def test_a_wait_lasts_until_its_seconds_have_run(process):
    asked = []

    def wait(seconds):
        asked.append(seconds)
        (process.stop if len(asked) == 1 else process.run)(seconds)

    before = process.clock.now()
    assert process.clock.wait(wait, 60.0) is None
    assert process.clock.now() - before == pytest.approx(60.0)
    assert len(asked) == 2
    assert process.clock.wait(lambda _: "found", 60.0) == "found"
    assert process.clock.wait(lambda seconds: seconds, -1.0) == 0.0


def test_a_sleep_on_the_event_loop_lasts_its_seconds():
    async def sleep():
        before = CLOCK.now()
        await CLOCK.sleep(0.3)
        return CLOCK.now() - before

    assert asyncio.run(sleep()) >= 0.3


def test_its_thread_starts_at_the_first_reading_and_after_a_fork():
    clock = RunningClock()
    threads = {thread for thread in threading.enumerate() if thread.name == "health-clock"}
    before = clock.now()
    (thread,) = {thread for thread in threading.enumerate() if thread.name == "health-clock"} - threads
    assert thread.daemon
    ended = threading.Thread(target=lambda: None)
    ended.start()
    ended.join()
    clock._thread = ended  # as in a forked process, which has none of the threads
    assert clock.now() >= before
    assert clock._thread.is_alive()


def test_a_native_call_that_keeps_the_lock_is_counted():
    CLOCK.now()
    wait_until(lambda: CLOCK._last[1] > 0, "the clock ticks")

    def counted() -> bool:
        before, stopped = CLOCK.now(), CLOCK.stopped_seconds
        ctypes.PyDLL(None).usleep(2_000_000)  # PyDLL does not release the interpreter's lock
        wait_until(lambda: CLOCK.now() - before > 1.0 or CLOCK.stopped_seconds - stopped > 1.0, "the clock has ticked")
        return CLOCK.now() - before > 1.0

    wait_until(counted, "it is counted: on a busy machine the clock's thread may wake too seldom to be sure")


PROGRAM = """
import sys, time
from ccmusic.health.clock import CLOCK
CLOCK.now()
print("ready", flush=True)
for line in sys.stdin:
    print(CLOCK.now(), flush=True)  # read by a thread that runs as soon as the process continues
"""


def test_a_stopped_process_is_not_counted():
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:

        def read():
            child.stdin.write("\n")
            child.stdin.flush()
            return float(child.stdout.readline())

        assert child.stdout.readline() == "ready\n"
        before = read()
        os.kill(child.pid, signal.SIGSTOP)
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() - begun > 3.0, "a pause of 3 s")
        os.kill(child.pid, signal.SIGCONT)
        assert read() - before < 2.0
        child.stdin.close()
