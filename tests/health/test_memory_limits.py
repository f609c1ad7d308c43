import pytest

from ccmusic.health.memory_limits import MemoryUse, memory_stall, memory_use

MIB = 2**20
GIB = 2**30
MEMINFO = "MemTotal:       8388608 kB\nMemFree:  1 kB\nMemAvailable:   6291456 kB\n"  # 8 GiB, 2 of them in use
KIB = GIB // 1024


def system(root, groups, own="0::/app\n", meminfo=MEMINFO):
    """A made-up /proc and /sys: the files of each group, and the lines of /proc/self/cgroup."""
    for name, content in {"proc/meminfo": meminfo, "proc/self/cgroup": own, **groups}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="ascii")
    return root


def v2(group, limit, current, swap=None, high="max", **stat):
    """A group of version 2; `swap` is what it may still swap."""
    prefix = f"sys/fs/cgroup/{group}"
    stat = {"anon": 5, "inactive_anon": 0, "active_anon": 0, "inactive_file": 0, "active_file": 0} | stat
    return {
        f"{prefix}/memory.max": f"{limit}\n",
        f"{prefix}/memory.high": f"{high}\n",
        f"{prefix}/memory.current": f"{current}\n",
        f"{prefix}/memory.stat": "".join(f"{name} {size}\n" for name, size in stat.items()),
        f"{prefix}/memory.swap.max": "max\n" if swap is None else f"{swap + MIB}\n",
        f"{prefix}/memory.swap.current": f"{MIB}\n",
    }


def v1(group, limit, usage, kernel=0, swap=None, swappiness=60, **stat):
    """A group of version 1; without `swap` the kernel does not count it."""
    prefix = f"sys/fs/cgroup/memory/{group}"
    files = {
        f"{prefix}/memory.limit_in_bytes": f"{limit}\n",
        f"{prefix}/memory.usage_in_bytes": f"{usage}\n",
        f"{prefix}/memory.kmem.usage_in_bytes": f"{kernel}\n",
        f"{prefix}/memory.swappiness": f"{swappiness}\n",
        f"{prefix}/memory.stat": "inactive_file 1\n" + "".join(f"total_{name} {size}\n" for name, size in stat.items()),
    }
    if swap is not None:
        files |= {
            f"{prefix}/memory.memsw.limit_in_bytes": f"{usage + MIB + swap}\n",
            f"{prefix}/memory.memsw.usage_in_bytes": f"{usage + MIB}\n",
        }
    return files


OWN_V1 = "4:cpu:/\n3:memory:/app\n0::/\n"
UNLIMITED_V1 = 9223372036854771712
"""How version 1 says: no limit."""


# what the kernel can take back


def test_file_pages_on_both_lists_are_not_in_use(tmp_path):
    root = system(tmp_path, v2("app", 2 * GIB, 2 * GIB, inactive_file=GIB // 4, active_file=GIB))
    assert memory_use(root) == MemoryUse(2 * GIB - GIB // 4 - GIB, 2 * GIB, "cgroup")


def test_mapped_pages_are_among_them(tmp_path):
    root = system(tmp_path, v2("app", 2 * GIB, 2 * GIB, active_file=GIB, file_mapped=GIB))
    assert memory_use(root).used_bytes == GIB


def test_shared_memory_and_locked_pages_are_in_use(tmp_path):
    stat = {"file": GIB, "shmem": GIB, "inactive_anon": GIB, "unevictable": GIB // 2, "active_file": MIB}
    root = system(tmp_path, v2("app", 2 * GIB, 2 * GIB, **stat))
    assert memory_use(root).used_bytes == 2 * GIB - MIB


def test_changed_file_pages_are_not_in_use_because_the_kernel_writes_them(tmp_path):
    stat = {"inactive_file": GIB, "file_dirty": GIB // 2, "file_writeback": GIB // 4}
    use = memory_use(system(tmp_path, v2("app", 2 * GIB, 2 * GIB, **stat)))
    assert (use.used_bytes, use.unwritten_bytes) == (GIB, GIB // 2 + GIB // 4)


def test_reclaimable_slab_is_not_in_use(tmp_path):
    root = system(tmp_path, v2("app", 2 * GIB, 2 * GIB, slab_reclaimable=GIB, slab_unreclaimable=MIB))
    assert memory_use(root).used_bytes == GIB


def test_version_1_has_the_same_file_pages_under_other_names(tmp_path):
    stat = {"inactive_file": GIB // 4, "active_file": GIB, "dirty": 3, "writeback": 4, "shmem": GIB // 8}
    root = system(tmp_path, v1("app", 2 * GIB, 2 * GIB, **stat), OWN_V1)
    assert memory_use(root) == MemoryUse(2 * GIB - GIB // 4 - GIB, 2 * GIB, "cgroup", unwritten_bytes=7)


def test_a_group_of_version_1_alone_has_no_totals(tmp_path):
    groups = v1("app", 2 * GIB, GIB)
    assert memory_use(system(tmp_path, groups, OWN_V1)).used_bytes == GIB - 1


@pytest.mark.parametrize(
    ("kernel", "slab_of_machine", "reclaimable"),
    [
        (100 * MIB, GIB, 0),  # what processes need
        (1024 * MIB, GIB, 1024 * MIB - 2 * GIB // 16),  # millions of names of files
        (1024 * MIB, 10 * MIB, 10 * MIB),  # it cannot be slab: the machine has no more
    ],
)
def test_version_1_takes_large_kernel_memory_for_slab(tmp_path, kernel, slab_of_machine, reclaimable):
    meminfo = MEMINFO + f"SReclaimable: {slab_of_machine // 1024} kB\n"
    root = system(tmp_path, v1("app", 2 * GIB, 2 * GIB, kernel=kernel, inactive_file=0), OWN_V1, meminfo)
    assert memory_use(root).used_bytes == 2 * GIB - reclaimable


# which limit


def test_the_fullest_group_counts_even_if_it_is_an_outer_one(tmp_path):
    groups = v2("app", 2 * GIB, int(1.9 * GIB)) | v2("app/worker", 2 * GIB, GIB)
    assert memory_use(system(tmp_path, groups, "0::/app/worker\n")).used_bytes == int(1.9 * GIB)


def test_in_a_container_the_mount_is_the_group(tmp_path):
    root = system(tmp_path, v2(".", 2 * GIB, GIB), "0::/kubepods/pod1/abc\n")
    assert memory_use(root) == MemoryUse(GIB, 2 * GIB, "cgroup")


def test_an_outer_group_of_version_1_without_a_limit_does_not_count(tmp_path):
    groups = v1("app", 2 * GIB, GIB) | v1(".", UNLIMITED_V1, 7 * GIB)
    assert memory_use(system(tmp_path, groups, OWN_V1)) == MemoryUse(GIB - 1, 2 * GIB, "cgroup")


@pytest.mark.parametrize("limit", ["max", str(16 * GIB)])
def test_without_a_lower_limit_the_machine_counts(tmp_path, limit):
    assert memory_use(system(tmp_path, v2("app", limit, GIB))) == MemoryUse(2 * GIB, 8 * GIB, "machine")


def test_a_full_machine_counts_although_the_group_has_room(tmp_path):
    meminfo = f"MemTotal: {8 * KIB} kB\nMemAvailable: {KIB // 16} kB\n"
    root = system(tmp_path, v2("app", 2 * GIB, GIB), meminfo=meminfo)
    assert memory_use(root) == MemoryUse(2 * GIB - GIB // 16, 2 * GIB, "machine")


def test_a_machine_with_more_left_than_the_group_does_not_count(tmp_path):
    meminfo = f"MemTotal: {512 * KIB} kB\nMemAvailable: {8 * KIB} kB\n"  # 98 % in use, and 8 GiB are left
    root = system(tmp_path, v2("app", 2 * GIB, GIB), meminfo=meminfo)
    assert memory_use(root) == MemoryUse(GIB, 2 * GIB, "cgroup")


def test_the_limit_that_slows_processes_down_counts_if_it_is_the_lower_one(tmp_path):
    root = system(tmp_path, v2("app", 2 * GIB, GIB, high=int(1.5 * GIB)))
    assert memory_use(root) == MemoryUse(GIB, int(1.5 * GIB), "cgroup")


def test_memory_of_this_machine():
    use = memory_use()
    assert 0 < use.used_bytes < use.limit_bytes


def test_a_system_that_reports_nothing(tmp_path):
    assert memory_use(tmp_path) is None
    assert memory_stall(tmp_path) is None


# swap

SWAP = MEMINFO + f"SwapFree: {KIB} kB\nActive(anon): {KIB} kB\nInactive(anon): {KIB} kB\n"


@pytest.mark.parametrize(
    ("swap", "anonymous", "expected"),
    [
        (None, 2 * GIB, GIB),  # what the machine has
        (MIB, 2 * GIB, MIB),  # what the group may
        (None, MIB, MIB),  # what there is to be moved
    ],
)
@pytest.mark.parametrize(("version", "own"), [(v2, "0::/app\n"), (v1, OWN_V1)])
def test_swap_is_what_can_still_be_moved_to_it(tmp_path, version, own, swap, anonymous, expected):
    root = system(tmp_path, version("app", 2 * GIB, 2 * GIB, swap=swap, inactive_anon=anonymous), own, SWAP)
    assert memory_use(root).swap_bytes == expected


def test_an_outer_group_limits_swap_as_well(tmp_path):
    groups = v2("app", "max", GIB, swap=MIB) | v2("app/worker", 2 * GIB, 2 * GIB, inactive_anon=GIB)
    assert memory_use(system(tmp_path, groups, "0::/app/worker\n", SWAP)).swap_bytes == MIB


def test_a_group_of_version_1_that_never_swaps(tmp_path):
    groups = v1("app", 2 * GIB, 2 * GIB, inactive_anon=GIB, swappiness=0)
    assert memory_use(system(tmp_path, groups, OWN_V1, SWAP)).swap_bytes == 0


def test_swap_of_the_machine(tmp_path):
    assert memory_use(system(tmp_path, {}, meminfo=SWAP)) == MemoryUse(2 * GIB, 8 * GIB, "machine", swap_bytes=GIB)


def test_the_shares():
    use = MemoryUse(2 * GIB, 4 * GIB, "cgroup", swap_bytes=GIB)
    assert (use.share, use.fixed_share) == (0.5, 0.25)


# pressure


def test_the_share_of_time_in_which_every_process_waited_for_memory(tmp_path):
    text = "some avg10=80.00 avg60=1.00 avg300=0.00 total=5\nfull avg10=62.50 avg60=2.00 avg300=0.00 total=3\n"
    assert memory_stall(system(tmp_path, {"sys/fs/cgroup/app/memory.pressure": text})) == 0.625


def test_the_machine_s_own_pressure_is_not_used(tmp_path):
    text = "some avg10=80.00 avg60=1.00 avg300=0.00 total=5\nfull avg10=62.50 avg60=2.00 avg300=0.00 total=3\n"
    assert memory_stall(system(tmp_path, {"proc/pressure/memory": text})) is None
