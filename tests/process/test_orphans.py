import os
import subprocess
import sys
from pathlib import Path

import pytest

from ccmusic.process import orphans
from ccmusic.process.orphans import Orphans
from support.waiting import PATIENCE_SECONDS

SUBREAPER = """
import ctypes, os, subprocess, sys
from ccmusic.process.orphans import orphans_reaped, read_processes
from support.waiting import PATIENCE_SECONDS, wait_until
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: orphans come to this process, as to process 1
def zombies():
    return [pid for pid, (parent, state) in read_processes().items() if (parent, state) == (os.getpid(), "Z")]
def orphan():
    subprocess.run(["sh", "-c", "true & exit"], check=True)
    wait_until(lambda: bool(zombies()), "an orphan has ended")
orphan()
with orphans_reaped(period_seconds=0.05, patience_seconds=0.1):
    wait_until(lambda: not zombies(), "no zombie is left")
    mine = subprocess.Popen(["sh", "-c", "exit 7"])
    assert mine.wait(PATIENCE_SECONDS) == 7
"""


def states(*zombies: int, elsewhere: tuple[int, ...] = ()) -> dict[int, tuple[int, str]]:
    return {pid: (1, "Z") for pid in zombies} | {pid: (9, "S") for pid in elsewhere} | {1: (0, "S")}


def test_a_child_is_due_when_it_has_ended_for_some_time_and_has_no_owner():
    orphans = Orphans(1, 10.0, lambda: {3})
    assert orphans.due(states(2, 3), 0.0) == set()
    assert orphans.due(states(2, 3, 4), 9.0) == set()
    assert orphans.due(states(2, 3, 4), 10.0) == {2}
    assert orphans.due(states(4), 11.0) == set(), "2 has been waited for"
    assert orphans.due(states(2), 12.0) == set(), "a later process with the same id"


def test_a_child_of_another_process_before_is_due_at_once():
    orphans = Orphans(1, 10.0, set)
    assert orphans.due(states(elsewhere=(2, 3)), 0.0) == set()
    assert orphans.due(states(2, elsewhere=(3,)), 1.0) == {2}
    assert orphans.due(states(2), 2.0) == {2}, "it was not waited for"
    assert orphans.due(states(), 3.0) == set()
    assert orphans.due(states(2), 4.0) == set(), "a later process with the same id"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
def test_orphans_are_waited_for():
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    subprocess.run(
        [sys.executable, "-c", SUBREAPER], check=True, timeout=PATIENCE_SECONDS, env=os.environ | {"PYTHONPATH": paths}
    )


def test_children_that_other_code_waits_for_are_left_to_it(monkeypatch):
    monkeypatch.setattr(orphans, "_owners", [])
    orphans.leave_to(lambda: {2})
    orphans.leave_to(lambda: {3})
    assert orphans.owned() >= {2, 3}
    assert Orphans(1, 0.0, orphans.owned).due(states(2, 3, 4), 0.0) == {4}
