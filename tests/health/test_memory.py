import pytest

from ccmusic.health import memory, memory_check
from ccmusic.health.memory import MemoryUse, memory_use

GIB = 2**30
MEMINFO = "MemTotal:       8388608 kB\nMemFree:  1 kB\nMemAvailable:   6291456 kB\n"  # 8 GiB, 2 of them in use


def system(root, groups, own):
    """A made-up /proc and /sys: the files of each group, and the lines of /proc/self/cgroup."""
    for name, content in {"proc/meminfo": MEMINFO, "proc/self/cgroup": own, **groups}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="ascii")
    return root


def v2(group, limit, current, cache):
    prefix = f"sys/fs/cgroup/{group}"
    return {
        f"{prefix}/memory.max": f"{limit}\n",
        f"{prefix}/memory.current": f"{current}\n",
        f"{prefix}/memory.stat": f"anon 5\ninactive_file {cache}\nactive_file 7\n",
    }


def test_the_limit_of_the_control_group_without_the_cache(tmp_path):
    root = system(tmp_path, v2("app/worker", 2 * GIB, GIB, GIB // 4), "0::/app/worker\n")
    assert memory_use(root) == MemoryUse(GIB - GIB // 4, 2 * GIB, "cgroup")


def test_the_fullest_group_counts_even_if_it_is_an_outer_one(tmp_path):
    groups = v2("app", 2 * GIB, int(1.9 * GIB), 0) | v2("app/worker", 2 * GIB, GIB, 0)
    assert memory_use(system(tmp_path, groups, "0::/app/worker\n")).used_bytes == int(1.9 * GIB)


def test_in_a_container_the_mount_is_the_group(tmp_path):
    root = system(tmp_path, v2(".", 2 * GIB, GIB, 0), "0::/kubepods/pod1/abc\n")
    assert memory_use(root) == MemoryUse(GIB, 2 * GIB, "cgroup")


def test_version_1_of_control_groups(tmp_path):
    groups = {
        "sys/fs/cgroup/memory/app/memory.limit_in_bytes": str(2 * GIB),
        "sys/fs/cgroup/memory/app/memory.usage_in_bytes": str(GIB),
        "sys/fs/cgroup/memory/app/memory.stat": "inactive_file 1\ntotal_inactive_file 1024\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",  # its way of saying: none
        "sys/fs/cgroup/memory/memory.usage_in_bytes": str(7 * GIB),
        "sys/fs/cgroup/memory/memory.stat": "",
    }
    assert memory_use(system(tmp_path, groups, "4:cpu:/\n3:memory:/app\n0::/\n")) == MemoryUse(
        GIB - 1024, 2 * GIB, "cgroup"
    )


@pytest.mark.parametrize("limit", ["max", str(16 * GIB)])
def test_without_a_lower_limit_the_machine_counts(tmp_path, limit):
    root = system(tmp_path, v2("app", limit, GIB, 0), "0::/app\n")
    assert memory_use(root) == MemoryUse(2 * GIB, 8 * GIB, "machine")


def test_unknown_memory_passes(tmp_path, monkeypatch):
    assert memory_use(tmp_path) is None
    monkeypatch.setattr(memory, "memory_use", lambda: None)
    assert memory_check().observe().status == "pass"


@pytest.mark.parametrize(("percent", "status"), [(89, "pass"), (90, "warn"), (96, "warn"), (97, "fail"), (120, "fail")])
def test_warning_and_failure_at_their_shares(monkeypatch, percent, status):
    monkeypatch.setattr(memory, "memory_use", lambda: MemoryUse(percent * GIB, 100 * GIB, "cgroup"))
    observation = memory_check().observe()
    assert (observation.status, observation.value, observation.unit) == (status, percent, "percent")
    if status != "pass":
        assert observation.cause == f"{percent} % of 100.00 GiB in use (cgroup)"
    assert memory_check().affects == {"health", "readyz"}


def test_memory_of_this_machine():
    use = memory_use()
    assert 0 < use.used_bytes < use.limit_bytes
