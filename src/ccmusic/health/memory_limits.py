"""How much memory the kernel would still give this process: by its control groups, and by the machine.

Memory is in use if the kernel cannot take it back when a process asks for more. The page cache is not: before the
kernel refuses memory, it drops file pages, those on the active list too, and those that are mapped; it writes changed
ones to the disk first. Pages of tmpfs and of shared memory have no file to go back to, and locked pages stay; the
kernel keeps both apart from the lists of file pages, so they count.

References
----------
Linux, Documentation/admin-guide/cgroup-v2.rst, memory; cgroup-v1/memory.rst; accounting/psi.rst;
mm/show_mem.c, si_mem_available
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

KERNEL_MEMORY_SHARE = 1 / 16
"""Version 1 does not tell reclaimable slab (dentries, inodes) from other memory of the kernel. What exceeds this share
of the limit is taken for it. The processes of a service need far less: a busy one with two workers had 4 of 430 MB.
With 1.4 million names of files in a group of 200 MB, the use stayed at 14 %, and the kernel refused nothing."""


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory in use against its limit.

    Attributes
    ----------
    used_bytes : int
        What the kernel cannot take back.
    limit_bytes : int
        At this use it kills a process, or slows all of them down (``memory.high``).
    limited_by : str
        ``cgroup`` or ``machine``. Where a control group has a limit, ``machine`` means that the machine has less left
        than the group; `used_bytes` is then the limit of the group without what is left.
    unwritten_bytes : int
        Changed file pages that are not on the disk yet, not part of `used_bytes`.
    swap_bytes : int
        How much of the memory in use the kernel can still move to swap.
    """

    used_bytes: int
    limit_bytes: int
    limited_by: str
    unwritten_bytes: int = 0
    swap_bytes: int = 0

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.used_bytes / self.limit_bytes

    @property
    def fixed_share(self) -> float:
        """The share that would be left in use if the kernel moved to swap what it can: 0 to 1."""
        return (self.used_bytes - self.swap_bytes) / self.limit_bytes


@dataclass(frozen=True, slots=True)
class _Machine:
    use: MemoryUse
    available_bytes: int
    swap_bytes: int
    slab_bytes: int


@dataclass(frozen=True, slots=True)
class _Group:
    """A control group; `swap_bytes` is what it may still swap by its own limit, None without one."""

    limit_bytes: int | None
    usage_bytes: int
    reclaimable_bytes: int
    unwritten_bytes: int
    anonymous_bytes: int
    swap_bytes: int | None


def memory_use(root: Path = Path("/")) -> MemoryUse | None:
    """Use of the limit that the kernel would enforce first: of a control group of this process, or of the machine.

    Parameters
    ----------
    root : Path
        Directory that contains ``proc`` and ``sys``.

    Returns
    -------
    MemoryUse or None
        None if the system reports neither.
    """
    machine = _machine(root)
    groups = list(_groups(root, machine))
    swaps = [group.swap_bytes for group in groups if group.swap_bytes is not None]
    swap = min([0 if machine is None else machine.swap_bytes, *swaps])
    uses = [
        MemoryUse(
            max(group.usage_bytes - group.reclaimable_bytes, 0),
            group.limit_bytes,
            "cgroup",
            group.unwritten_bytes,
            min(swap, group.anonymous_bytes),
        )
        for group in groups
        if group.limit_bytes is not None and (machine is None or group.limit_bytes < machine.use.limit_bytes)
    ]
    if not uses:
        return None if machine is None else machine.use
    if machine is not None:  # a limit promises nothing: other programs may have used up the machine
        limit = min(use.limit_bytes for use in uses)
        used = max(limit - machine.available_bytes, 0)
        uses.append(MemoryUse(used, limit, "machine", machine.use.unwritten_bytes, machine.use.swap_bytes))
    return max(uses, key=lambda use: (use.fixed_share, use.share))


def memory_stall(root: Path = Path("/")) -> float | None:
    """Share of the last ten seconds in which every process of this control group that had work waited for memory.

    Returns
    -------
    float or None
        0 to 1; None if the kernel does not report it. Only control groups of version 2 do. The machine's own figure is
        not used: it rises as well when another group is short of memory.
    """
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            if line.startswith("0::"):
                for group in _upwards(root / "sys/fs/cgroup", line[3:]):
                    with suppress(OSError, IndexError, ValueError):
                        full = (group / "memory.pressure").read_text(encoding="ascii").split("full avg10=")[1]
                        return float(full.split()[0]) / 100
    return None


def _machine(root: Path) -> _Machine | None:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
        total, available = sizes["MemTotal"], sizes["MemAvailable"]  # the kernel's own estimate of the same
    except (OSError, KeyError, ValueError, IndexError):
        return None
    unwritten = sizes.get("Dirty", 0) + sizes.get("Writeback", 0)
    swap = sizes.get("SwapFree", 0)
    anonymous = sizes.get("Active(anon)", 0) + sizes.get("Inactive(anon)", 0)
    use = MemoryUse(total - available, total, "machine", unwritten, min(swap, anonymous))
    return _Machine(use, available, swap, sizes.get("SReclaimable", 0))


def _groups(root: Path, machine: _Machine | None) -> Iterator[_Group]:
    """The process's control group and each group above it, as far as they are visible."""
    mounted = root / "sys/fs/cgroup"
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                for group in _upwards(mounted, path):
                    with suppress(OSError, ValueError):  # no such group here
                        yield _version_2(group)
            elif "memory" in controllers.split(","):
                for group in _upwards(mounted / "memory", path):
                    with suppress(OSError, ValueError):
                        yield _version_1(group, 0 if machine is None else machine.slab_bytes)


def _upwards(mounted: Path, path: str) -> list[Path]:
    group = Path(path.lstrip("/"))
    # In a container the path is often that of the host, which does not exist here; the mount is then the group itself.
    return [mounted / inner for inner in dict.fromkeys((group, *group.parents, Path()))]


def _version_2(group: Path) -> _Group:
    # memory.high kills nothing, but each process that asks for memory beyond it is put to sleep
    limits = [limit for name in ("memory.max", "memory.high") if (limit := _limit(group / name)) is not None]
    usage = _number(group / "memory.current")
    stat = _stat(group)
    swap_limit = _limit(group / "memory.swap.max")
    return _Group(
        min(limits, default=None),
        usage,
        stat.get("active_file", 0) + stat.get("inactive_file", 0) + stat.get("slab_reclaimable", 0),
        stat.get("file_dirty", 0) + stat.get("file_writeback", 0),
        stat.get("active_anon", 0) + stat.get("inactive_anon", 0),
        None if swap_limit is None else max(swap_limit - _number(group / "memory.swap.current"), 0),
    )


def _version_1(group: Path, slab_of_machine: int) -> _Group:
    limit = _number(group / "memory.limit_in_bytes")
    usage = _number(group / "memory.usage_in_bytes")
    stat = _stat(group)

    def total(*names: str) -> int:
        return sum(stat.get(f"total_{name}", stat.get(name, 0)) for name in names)

    kernel = slab = 0
    with suppress(OSError, ValueError):
        kernel = _number(group / "memory.kmem.usage_in_bytes")
        slab = min(max(kernel - int(limit * KERNEL_MEMORY_SHARE), 0), slab_of_machine)
    swap = None
    with suppress(OSError, ValueError):  # these two limit the sum of memory and swap
        swap = _number(group / "memory.memsw.limit_in_bytes") - _number(group / "memory.memsw.usage_in_bytes")
    with suppress(OSError, ValueError):
        swap = 0 if _number(group / "memory.swappiness") == 0 else swap  # in version 1 it means: never
    return _Group(
        limit or None,
        usage,
        total("active_file", "inactive_file") + slab,
        total("dirty", "writeback"),
        total("active_anon", "inactive_anon"),
        swap,
    )


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _limit(path: Path) -> int | None:
    """None for no limit: ``max``, or no such file, as in the root group."""
    try:
        return _number(path) or None
    except (OSError, ValueError):
        return None


def _stat(group: Path) -> dict[str, int]:
    words = (group / "memory.stat").read_text(encoding="ascii").split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))
