"""How much of the memory available to this process is in use, by the limits of the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ccmusic.health.check import Check, Observation, Probe, failed, passed, warned

_AFFECTS: frozenset[Probe] = frozenset({"health", "readyz"})


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory in use against its limit.

    Attributes
    ----------
    used_bytes : int
        Without the file cache that the kernel can reclaim.
    limit_bytes : int
    limited_by : str
        ``cgroup`` or ``machine``.
    """

    used_bytes: int
    limit_bytes: int
    limited_by: str

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.used_bytes / self.limit_bytes


def memory_use(root: Path = Path("/")) -> MemoryUse | None:
    """Use of the fullest control group of this process, or of the machine; None if neither is known.

    Parameters
    ----------
    root : Path
        Directory that contains ``proc`` and ``sys``.

    References
    ----------
    Linux, Documentation/admin-guide/cgroup-v2.rst, memory; cgroup-v1/memory.rst
    """
    machine = _machine(root)
    uses = [use for use in _groups(root) if machine is None or use.limit_bytes < machine.limit_bytes]
    return max(uses, key=lambda use: use.share, default=machine)


def memory_check(warn_share: float = 0.9, fail_share: float = 0.97) -> Check:
    """Fail ``/health`` and ``/readyz`` shortly before the kernel would kill the process: new work would cause that.

    Parameters
    ----------
    warn_share, fail_share : float
        Share of the limit of the control group, or of the memory of the machine if there is none.
    """

    def observe() -> Observation:
        use = memory_use()
        if use is None:
            return passed()
        percent = round(100 * use.share, 1)
        cause = f"{percent:g} % of {use.limit_bytes / 2**30:.2f} GiB in use ({use.limited_by})"
        if use.share >= fail_share:
            return failed(cause, percent, "percent", code="nearly_full")
        if use.share >= warn_share:
            return warned(cause, percent, "percent", code="nearly_full")
        return passed(percent, "percent")

    return Check("memory", observe, _AFFECTS, measurement="utilization", component_type="system")


def _machine(root: Path) -> MemoryUse | None:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        return MemoryUse((kib["MemTotal"] - kib["MemAvailable"]) * 1024, kib["MemTotal"] * 1024, "machine")
    except (OSError, KeyError, ValueError, IndexError):
        return None


def _groups(root: Path) -> Iterator[MemoryUse]:
    """Use of the process's control group and of each group above it that has a limit."""
    mounted = root / "sys/fs/cgroup"
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from _upwards(mounted, path, ("memory.max", "memory.current", "inactive_file"))
            elif "memory" in controllers.split(","):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                yield from _upwards(mounted / "memory", path, names)


def _upwards(mounted: Path, path: str, names: tuple[str, str, str]) -> Iterator[MemoryUse]:
    limit_file, usage_file, cache_name = names
    group = Path(path.lstrip("/"))
    # In a container the path is often that of the host, which does not exist here; the mount is then the group itself.
    for inner in dict.fromkeys((group, *group.parents, Path())):
        with suppress(OSError, ValueError):  # no such group here, or "max": no limit
            limit = int((mounted / inner / limit_file).read_text(encoding="ascii"))
            usage = int((mounted / inner / usage_file).read_text(encoding="ascii"))
            stat = (mounted / inner / "memory.stat").read_text(encoding="ascii").split()
            cache = int(stat[stat.index(cache_name) + 1]) if cache_name in stat else 0
            if limit > 0:
                yield MemoryUse(max(usage - cache, 0), limit, "cgroup")
