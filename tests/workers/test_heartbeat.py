import multiprocessing
import os
import threading
import time

from ccmusic.workers.heartbeat import Heartbeat
from ccmusic.workers.process_info import longest_delay, rss_bytes, run_delays
from support.waiting import wait_until


def _beat_once(pulse: Heartbeat, read: threading.Event) -> None:
    pulse.enter("decode")
    pulse.beat()
    read.wait(30)


def test_another_process_sees_the_beat_and_the_stage():
    pulse = Heartbeat()
    assert pulse.stage == "load"
    context = multiprocessing.get_context("spawn")
    read = context.Event()
    process = context.Process(target=_beat_once, args=(pulse, read))
    process.start()
    wait_until(lambda: pulse.stage == "decode", "the stage has changed")
    wait_until(lambda: pulse.age_seconds < 5.0, "the heart has beaten")
    age = pulse.age_seconds
    wait_until(lambda: pulse.age_seconds > age, "it grows old again")
    assert pulse.stage_seconds >= pulse.age_seconds
    read.set()
    process.join(30)
    assert process.exitcode == 0
    pulse.close()


def test_what_the_system_knows_of_a_process():
    assert rss_bytes(os.getpid()) > 2**20
    assert rss_bytes(2**30) is None
    assert str(os.getpid()) in run_delays(os.getpid())
    assert run_delays(2**30) == {}


def test_the_most_hindered_thread_counts():
    before = {"1": 1.0, "2": 5.0}
    assert longest_delay(before, {"1": 1.5, "2": 5.1, "3": 9.0}) == 0.5  # the third was not there before
    assert longest_delay(before, {}) == 0.0


def test_only_what_was_taken_up_since_counts_as_begun():
    pulse = Heartbeat()
    pulse.enter("reply")
    moment = time.monotonic()
    assert not pulse.busy_since(moment)  # of the order before
    pulse.enter("idle")
    assert not pulse.busy_since(moment)
    pulse.enter("receive")
    assert pulse.busy_since(moment)
    pulse.close()
