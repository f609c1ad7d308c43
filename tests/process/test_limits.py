"""The cause of a failed fork names the limits, as the files of the control groups have them."""

from __future__ import annotations

import errno
import resource

import pytest

from ccmusic.process.limits import memory_limits, oom_kills, task_limits, why_not_started

FILES = {
    "": {"pids.max": "64", "pids.current": "60", "memory.max": str(512 * 2**20), "memory.events": "oom 3\noom_kill 2"},
    "pids": {"pids.max": "64", "pids.current": "60"},
    "memory": {"memory.limit_in_bytes": str(512 * 2**20), "memory.oom_control": "under_oom 0\noom_kill 2"},
}


@pytest.fixture(params=["0::/pod/container\n", "8:pids:/pod/container\n4:cpu,memory:/pod/container\n"])
def root(request, tmp_path):
    """Control groups of both versions, with limits in the middle of the tree and none in the innermost group."""
    for controller, files in FILES.items():
        pod = tmp_path / "sys/fs/cgroup" / controller / "pod"
        (pod / "container").mkdir(parents=True)
        for name, text in files.items():
            (pod / name).write_text(f"{text}\n")
    for name in ("pids.max", "memory.max"):
        (tmp_path / "sys/fs/cgroup/pod/container" / name).write_text("max\n")
    (tmp_path / "sys/fs/cgroup/memory/pod/container/memory.limit_in_bytes").write_text("9223372036854771712\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(request.param)
    return tmp_path


def test_the_limits_of_the_own_group_and_of_those_above_it_count(root):
    assert task_limits(root) == ["pids.max of the control group is 64, 60 are in use"]
    (limit,) = memory_limits(root)
    assert limit.endswith("of the control group is 512 MB")
    assert oom_kills(root) == 2


def test_a_system_without_control_groups_has_no_such_limit(tmp_path):
    assert (task_limits(tmp_path), memory_limits(tmp_path), oom_kills(tmp_path)) == ([], [], 0)


def test_the_cause_names_the_limit_and_what_to_do(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (77 * 1024, 77 * 1024))
    text = why_not_started(errno.EAGAIN)
    assert text.startswith("no process can be started: ")
    assert f"ulimit -u is {77 * 1024}" in text
    assert "raise the limit" in text
    assert "a limit of memory is reached (ulimit -v is 77" in why_not_started(errno.ENOMEM)
    assert why_not_started(errno.ENOENT, "thread") == "no thread can be started: No such file or directory"
