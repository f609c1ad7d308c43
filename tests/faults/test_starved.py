"""The service gets processor time only when others leave some: it is slow, and nothing is taken for a hang.

As a Kubernetes pod without a CPU request, which weighs 2 beside the 1024 of a pod that requests one processor.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import ExitStack, suppress

import pytest

from faults.drill import prove
from faults.probe_watch import ProbeWatch
from faults.processes import burners
from faults.traffic import SHORT, probabilities
from support.waiting import PATIENCE_SECONDS, wait_until

IDLE = ("chrt", "--idle", "0")
STARVED_SECONDS = 20.0
BUSY = 8
"""Busy loops per processor. Their niceness spares other programs; beside the service they weigh hundreds of times."""


def can_starve() -> bool:
    """Whether the scheduler class of a process can be chosen here, and changed back."""
    with suppress(OSError):
        return subprocess.run([*IDLE, *IDLE, "true"], check=False, capture_output=True).returncode == 0
    return False


@pytest.mark.fault("P23")
def test_a_service_that_gets_little_processor_time(row, start):
    if not can_starve():
        pytest.skip("the scheduler class SCHED_IDLE cannot be set here")
    with start(wrapper=IDLE) as service:
        reference = probabilities(service.classify(SHORT))
        longest = 0.0
        for once in row.repeats(service):
            before = service.look().body["restarts"]
            once.begin()
            with ExitStack() as stack:
                busy = [pid for cpu in os.sched_getaffinity(0) for pid in stack.enter_context(burners(BUSY, cpu, 10))]
                for pid in busy:  # these tests may be in the same class as the service
                    os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
                prove(lambda busy=busy: all(os.sched_getscheduler(pid) == os.SCHED_OTHER for pid in busy), "they weigh")
                prove(lambda: os.sched_getscheduler(service.pid) == os.SCHED_IDLE, "the service weighs little")
                # a slow machine may leave no time for an answer within 20 s; what counts is what the answer says
                watches = [
                    stack.enter_context(
                        ProbeWatch(address, lambda: False, ("livez",), patience_seconds=PATIENCE_SECONDS)
                    )
                    for address in (service.address, service.management)
                ]
                answer = service.classify_later(SHORT)
                end = time.monotonic() + STARVED_SECONDS
                wait_until(lambda end=end: time.monotonic() > end, "the time is over", STARVED_SECONDS + 60)
                for watch in watches:
                    watch.read_on()
            once.requests += 1
            answer.result()
            longest = max(longest, *(watch.longest_seconds for watch in watches))
            reds = [red for watch in watches for red in watch.reds]
            after = service.look().body["restarts"]
            once.within = not reds and after == before
            assert not reds, reds[:5]
            assert after == before
            once.recovered_when(since=time.monotonic())
            once.judge(service.classify(SHORT), reference)
    row.remark(
        f"SCHED_IDLE beside {BUSY} busy loops per processor for {STARVED_SECONDS:g} s; `/livez` on both ports, "
        f"longest answer {longest:.3g} s"
    )
