import os
import signal
import subprocess
import threading

import pytest

from ccmusic.health.waits import RecentWaits, ThreadTimes, WaitedTime, thread_times
from support.waiting import wait_until


def test_what_the_system_knows_about_threads():
    assert thread_times(os.getpid())[str(os.getpid())].ran > 0
    assert thread_times(2**30) == {}


def test_a_stopped_process_waits_for_nothing():
    process = subprocess.Popen(["sleep", "60"])
    pid = str(process.pid)
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: thread_times(process.pid)[pid].state == "T", "it is stopped")
    waited = WaitedTime()
    for now in (0.0, 100.0):
        waited.read(now, thread_times(process.pid))
    assert waited.explains(pid) == 0.0
    process.kill()
    process.wait()


def readings(*rows: tuple[float, dict[str, tuple[float, float, str]]]) -> WaitedTime:
    waited = WaitedTime()
    for now, threads in rows:
        waited.read(now, {thread: ThreadTimes(*times) for thread, times in threads.items()})
    return waited


def test_the_waits_that_the_kernel_has_added_up_count():
    assert readings((0, {"1": (0, 1.0, "S")}), (2, {"1": (0.1, 1.5, "S")}), (4, {"1": (0.2, 1.7, "S")})).of(
        "1"
    ) == pytest.approx(0.7)


def test_a_wait_that_has_not_ended_counts_once():
    began = (0, {"1": (5.0, 1.0, "R")})
    waiting = (3, {"1": (5.0, 1.0, "R")})
    assert readings(began, waiting).of("1") == 3.0
    assert readings(began, waiting, (4, {"1": (5.0, 5.0, "R")})).of("1") == 4.0


def test_a_thread_that_runs_sleeps_or_is_stopped_does_not_wait():
    assert readings((0, {"1": (5.0, 1.0, "R")}), (3, {"1": (8.0, 1.0, "R")})).of("1") == 0.0
    for state in "ST":
        assert readings((0, {"1": (5.0, 1.0, state)}), (3, {"1": (5.0, 1.0, state)})).of("1") == 0.0


def test_a_thread_that_waits_for_the_disk_waits():
    assert readings((0, {"1": (5.0, 1.0, "D")}), (3, {"1": (5.0, 1.0, "D")})).of("1") == 3.0


def test_a_thread_waits_with_the_thread_that_has_the_interpreters_lock():
    waited = readings(
        (0, {"1": (0, 0, "S"), "2": (0, 0, "S"), "3": (0, 0, "S")}),
        (9, {"1": (0, 1, "S"), "2": (0, 4, "S"), "3": (0, 3, "S"), "4": (0, 8, "S")}),
    )
    assert waited.explains("1") == 5.0  # the fourth thread is new
    assert readings().explains("1") == 0.0


def test_a_wait_that_began_after_the_last_reading_counts():
    began = (0, {"1": (5.0, 1.0, "S")})
    assert readings(began, (6, {"1": (5.2, 1.3, "R")})).of("1") == pytest.approx(0.3 + 5.5)
    assert readings(began, (6, {"1": (5.2, 1.3, "R")}), (8, {"1": (5.2, 1.3, "R")})).of("1") == pytest.approx(7.8)
    assert readings(began, (6, {"1": (5.2, 1.3, "R")}), (8, {"1": (5.3, 6.3, "S")})).of("1") == pytest.approx(5.3)


def test_a_thread_that_has_just_woken_is_not_excused_for_longer_than_one_reading():
    began, woken = (0, {"1": (5.0, 1.0, "S")}), (1, {"1": (5.0, 1.0, "R")})
    assert readings(began, woken).of("1") == 1.0
    assert readings(began, woken, (2, {"1": (5.1, 1.0, "S")})).of("1") == 0.0


def test_the_thread_that_reads_does_not_wait():
    me = str(threading.get_native_id())
    assert readings((0, {me: (5.0, 1.0, "S")}), (3, {me: (5.1, 1.0, "R")})).of(me) == 0.0


def test_a_thread_that_has_ended_is_forgotten():
    waited = readings((0, {"1": (0, 0, "S"), "2": (0, 0, "S")}), (9, {"1": (0, 0, "S"), "2": (0, 4, "S")}))
    waited.read(10, {"1": ThreadTimes(0, 0, "S")})
    assert waited.explains("1") == 0.0
    assert set(waited.ended) == {"1"}


class Process:
    """A process whose first thread is judged; its times and the clock are set by a test."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waited = {"1": 0.0, "2": 0.0}
        self.state = "S"
        self.waits = RecentWaits(
            lambda: {thread: ThreadTimes(1.0, waited, self.state) for thread, waited in self.waited.items()},
            lambda: self.now,
        )

    def pass_time(self, seconds: float, waited: float = 0.0, other: float = 0.0) -> None:
        self.now += seconds
        self.waited["1"] += waited
        self.waited["2"] += other
        self.waits.note()


@pytest.fixture
def process():
    process = Process()
    process.waits.note()
    return process


def test_only_the_waits_of_the_last_seconds_count(process):
    process.pass_time(10.0, waited=7.0)
    process.pass_time(4.0, waited=1.0)
    process.pass_time(4.0, waited=1.5, other=0.5)
    assert process.waits.seconds(1, 4.0) == pytest.approx(2.0)
    assert process.waits.seconds(1, 8.0) == pytest.approx(3.0)
    assert process.waits.seconds(1, 18.0) == pytest.approx(10.0)
    assert process.waits.seconds(None, 4.0) == pytest.approx(1.5)


def test_no_more_than_all_of_the_last_seconds_is_explained(process):
    process.pass_time(4.0, waited=4.0, other=4.0)
    assert process.waits.seconds(1, 3.0) == 3.0


def test_it_reads_itself_how_long_the_present_wait_has_lasted(process):
    process.state = "R"
    process.now += 5.0
    assert process.waits.seconds(1, 5.0) == pytest.approx(5.0)


def test_readings_in_quick_succession_do_not_push_out_the_old_ones(process):
    for _ in range(2000):
        process.pass_time(0.01, waited=0.005)
    assert process.waits.seconds(1, 20.0) == pytest.approx(10.0, abs=0.2)


def test_the_age_of_a_step_is_told_without_the_waits_if_it_is_not_allowed():
    process = Process()
    me = threading.current_thread()
    process.waited = {str(me.native_id): 0.0}
    process.waits.note()
    process.now += 6.0
    process.waited[str(me.native_id)] = 5.0
    assert process.waits.without(me, 6.0, allowed=6.0) == 6.0
    assert process.waits.without(me, 6.0, allowed=2.0) == pytest.approx(1.0)
    assert process.waits.without(None, 6.0, allowed=2.0) == pytest.approx(1.0)  # it may have waited for that thread
