"""The injected jump of the wall clock is what it is when somebody sets the system's clock."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from faults.wall_clock import WallClock

DAY_SECONDS = 86400
ROUNDING = 1e-5
"""Seconds; a float holds the time of day to 2e-7."""
READ = """
import datetime, sys, time
for _ in sys.stdin:
    print(time.time(), time.monotonic(), datetime.datetime.now().timestamp(), flush=True)
"""
WAIT = """
import queue, threading, time

time.sleep(0.01)
threading.Event().wait(0.01)
try:
    queue.Queue().get(timeout=0.01)
except queue.Empty:
    pass
spent = {}

def hold():
    began = time.thread_time()
    for _ in range(20):
        sum(range(1_000_000))  # native code that keeps the interpreter's lock
    spent["holder"] = time.thread_time() - began

holder = threading.Thread(target=hold)
began = time.thread_time()
holder.start()
while holder.is_alive():
    time.sleep(0.001)  # after it, this thread waits for the lock
print(time.thread_time() - began, spent["holder"])
"""


def test_a_jump_moves_the_wall_clock_alone(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", READ], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clock.environment, text=True
    ) as process:
        for seconds in (0, DAY_SECONDS, -DAY_SECONDS, 0):
            clock.set(seconds)
            before = time.time(), time.monotonic()
            process.stdin.write("\n")
            process.stdin.flush()
            wall, monotonic, local = map(float, process.stdout.readline().split())
            after = time.time(), time.monotonic()
            assert before[0] - ROUNDING <= wall - seconds <= local - seconds + ROUNDING <= after[0] + 2 * ROUNDING
            assert before[1] <= monotonic <= after[1]
        process.stdin.close()


def test_waits_are_as_without_it(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    clock.set(DAY_SECONDS)
    ended = subprocess.run(
        [sys.executable, "-c", WAIT], env=clock.environment, check=True, capture_output=True, text=True
    )
    waiter, holder = map(float, ended.stdout.split())
    assert waiter < 0.2 * holder, "a thread that waits for the interpreter's lock uses no processor"
