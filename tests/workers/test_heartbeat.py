import subprocess
import sys
import threading
import time

from ccmusic.workers.heartbeat import Heartbeat
from support.waiting import wait_until

PROGRAM = """import sys
from ccmusic.workers.heartbeat import Heartbeat
heartbeat = Heartbeat(int(sys.argv[1]))
heartbeat.enter("decode")
heartbeat.beat()
sys.stdin.read()
"""


def test_another_process_sees_heartbeat_and_stage():
    heartbeat = Heartbeat()
    assert heartbeat.stage == "load"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(heartbeat.descriptor)],
        stdin=subprocess.PIPE,
        pass_fds=(heartbeat.descriptor,),
    )
    wait_until(lambda: heartbeat.stage == "decode", "the stage has changed")
    wait_until(lambda: heartbeat.thread == process.pid, "there was a heartbeat")
    age = heartbeat.age_seconds
    wait_until(lambda: heartbeat.age_seconds > age, "it gets old")
    assert heartbeat.stage_seconds >= heartbeat.age_seconds
    process.communicate()
    assert process.returncode == 0
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


def test_the_age_counts_from_the_moment_when_the_worker_can_beat():
    heartbeat = Heartbeat()
    wait_until(lambda: heartbeat.age_seconds > 0.05, "the fork server starts")
    age = heartbeat.age_seconds
    heartbeat.start_clock()
    assert heartbeat.age_seconds < age
    assert heartbeat.thread == 0
    heartbeat.beat()
    assert heartbeat.thread == threading.get_native_id()
    heartbeat.close()
