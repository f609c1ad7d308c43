import math
import os
import subprocess
import sys
import threading
import time

import pytest

from ccmusic.workers.heartbeat import MAX_SECONDS, STAGES, Heartbeat
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
    age = heartbeat.age_seconds
    assert heartbeat.stage_seconds >= age  # read later
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


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the memory of a heartbeat is sealed on Linux only")
def test_a_process_cannot_take_the_memory_from_its_reader():
    """A reader of memory that has become shorter ends by SIGBUS."""
    heartbeat = Heartbeat()
    for size in (0, 2**20):
        with pytest.raises(PermissionError):
            os.ftruncate(heartbeat.descriptor, size)
    heartbeat.close()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -1e300])
def test_whatever_is_in_the_memory_is_read_as_an_age_and_a_stage(number):
    heartbeat = Heartbeat()
    for place in range(2):
        heartbeat._doubles[place] = number
    assert 0.0 <= heartbeat.age_seconds <= MAX_SECONDS
    assert 0.0 <= heartbeat.stage_seconds <= MAX_SECONDS
    for stage in (-1, 2**62, -(2**62)):
        heartbeat._integers[2] = stage
        assert heartbeat.stage in STAGES
    heartbeat.close()
