import multiprocessing
import threading
import time

from ccmusic.workers.heartbeat import Heartbeat
from support.waiting import PATIENCE_SECONDS, wait_until


def _beat_once(heartbeat: Heartbeat, read: threading.Event) -> None:
    heartbeat.enter("decode")
    heartbeat.beat()
    read.wait(PATIENCE_SECONDS)


def test_another_process_sees_heartbeat_and_stage():
    heartbeat = Heartbeat()
    assert heartbeat.stage == "load"
    context = multiprocessing.get_context("spawn")
    read = context.Event()
    process = context.Process(target=_beat_once, args=(heartbeat, read))
    process.start()
    wait_until(lambda: heartbeat.stage == "decode", "the stage has changed")
    wait_until(lambda: heartbeat.age_seconds < 5.0, "there was a heartbeat")
    age = heartbeat.age_seconds
    wait_until(lambda: heartbeat.age_seconds > age, "it gets old again")
    assert heartbeat.stage_seconds >= heartbeat.age_seconds
    read.set()
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == 0
    heartbeat.close()


def test_only_an_order_after_the_given_moment_counts_as_begun():
    heartbeat = Heartbeat()
    heartbeat.enter("reply")
    moment = time.monotonic()
    assert not heartbeat.busy_since(moment)  # the stage is that of an earlier order
    heartbeat.enter("idle")
    assert not heartbeat.busy_since(moment)
    heartbeat.enter("receive")
    assert heartbeat.busy_since(moment)
    heartbeat.close()
