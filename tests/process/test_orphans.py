import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ccmusic.process import orphans
from ccmusic.process.orphans import Orphans
from support.waiting import PATIENCE_SECONDS

START = """
import ctypes, multiprocessing, os, signal, subprocess, sys
from pathlib import Path
from ccmusic.process.orphans import ended_children, leave_to, orphans_reaped
from support.waiting import PATIENCE_SECONDS, wait_until
def orphan():
    return int(subprocess.run(["sh", "-c", "sleep 600 >&2 & echo $!"], stdout=subprocess.PIPE, check=True).stdout)
def end(pid):
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "it was waited for")
"""

SUBREAPER = """
with orphans_reaped(period_seconds=0.05, patience_seconds=5.0):
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER, later than the thread starts, as the fork server does
    end(orphan())
    mine = subprocess.Popen(["sh", "-c", "exit 7"])
    assert mine.wait(PATIENCE_SECONDS) == 7
"""

PROCESS_1 = """
from ccmusic.workers.fork_server import ForkServer
from ccmusic.workers.heartbeat import Heartbeat
assert os.getpid() == 1
print("ready", flush=True)
of_another_entry = int(sys.stdin.readline())
server = ForkServer(30.0, modules=())
leave_to(server.owned)
heartbeat = Heartbeat()
connection, theirs = multiprocessing.Pipe()
lifeline, ours = multiprocessing.Pipe(duplex=False)
with orphans_reaped(period_seconds=0.02, patience_seconds=0.1):
    worker = server.fork([theirs.fileno(), heartbeat.descriptor, lifeline.fileno(), lifeline.fileno()], lambda: False)
    def parent():
        return int(Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert parent() != 1
    os.kill(server._server.pid, signal.SIGKILL)
    wait_until(lambda: parent() == 1, "the worker has another parent")
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: worker.pid in ended_children(), "the worker has ended")
    end(of_another_entry)  # what docker exec leaves behind
    end(orphan())
    assert worker.exit_code(PATIENCE_SECONDS) == -signal.SIGKILL, "nobody else has waited for it"
    server.stop()
"""


def environment() -> dict[str, str]:
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": paths}


def test_a_child_is_due_when_it_has_ended_for_some_time_and_has_no_owner():
    orphans = Orphans(10.0, lambda: {3})
    assert orphans.due({2, 3}, 0.0) == set()
    assert orphans.due({2, 3, 4}, 9.0) == set()
    assert orphans.due({2, 3, 4}, 10.0) == {2}
    assert orphans.due({4}, 11.0) == set(), "2 has been waited for"
    assert orphans.due({2}, 12.0) == set(), "a later process with the same id"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
def test_orphans_are_waited_for_also_if_the_process_becomes_a_subreaper_later():
    subprocess.run([sys.executable, "-c", START + SUBREAPER], check=True, timeout=PATIENCE_SECONDS, env=environment())


def test_process_1_waits_for_strangers_and_for_no_worker_of_its_own():
    wrapper = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    if shutil.which("nsenter") is None or subprocess.run([*wrapper, "true"], check=False).returncode:
        pytest.skip("this user cannot make a process 1")
    process = subprocess.Popen(
        [*wrapper, sys.executable, "-c", START + PROCESS_1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with process:  # which closes its pipes
        try:
            assert process.stdout.readline() == "ready\n"
            first = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().strip()
            enter = ("nsenter", "--target", first, "--pid", "sh", "-c", "sleep 600 >&2 & echo $!")
            print(subprocess.run(enter, stdout=subprocess.PIPE, text=True, check=True).stdout, file=process.stdin)
            process.stdin.close()
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()


def test_children_that_other_code_waits_for_are_left_to_it(monkeypatch):
    monkeypatch.setattr(orphans, "_owners", [])
    orphans.leave_to(lambda: {2})
    orphans.leave_to(lambda: {3})
    assert orphans.owned() >= {2, 3}
    assert Orphans(0.0, orphans.owned).due({2, 3, 4}, 0.0) == {4}
