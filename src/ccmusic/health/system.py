"""Checks of system resources: memory, descriptors, Python modules, GPU memory."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from typing import Any

from ccmusic.health.check import Check, Observation, Probe, failed, passed, warned
from ccmusic.health.memory import MemoryUse, memory_check, memory_use

__all__ = [
    "MemoryUse",
    "dependency_check",
    "descriptor_check",
    "descriptor_use",
    "gpu_memory_check",
    "memory_check",
    "memory_use",
]

GPU_WARN_SHARE = 0.95

_TURNS_AWAY: frozenset[Probe] = frozenset({"health", "readyz"})
_TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)


def descriptor_use() -> tuple[int, int | None] | None:
    """Number of open descriptors and their limit (None for no limit); None if the system does not report them.

    Raises
    ------
    OSError
        No descriptor is left to count them with.
    """
    try:
        import resource  # not on Windows

        # The listing itself uses one. Only names are read, since there may be a million.
        count = len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")) - 1  # noqa: PTH208
    except (ImportError, FileNotFoundError):
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # read each time, since prlimit may change it
    return count, None if limit == resource.RLIM_INFINITY else limit


def descriptor_check(warn_share: float = 0.8, fail_share: float = 0.95) -> Check:
    """Fail ``/health`` and ``/readyz`` before the process can no longer accept connections.

    Parameters
    ----------
    warn_share, fail_share : float
        Share of the soft limit on open descriptors.
    """

    def observe() -> Observation:
        try:
            use = descriptor_use()
        except OSError as error:
            if error.errno in _TOO_MANY_OPEN:
                return failed(
                    f"too many open files ({errno.errorcode[error.errno]}): no descriptor is left to count them",
                    code="full",
                )
            raise
        if use is None:
            return passed()
        count, limit = use
        if limit is None or count < warn_share * limit:
            return passed(count, "descriptors")
        cause = f"{count} of {limit} descriptors are open"
        return (failed if count >= fail_share * limit else warned)(cause, count, "descriptors", code="nearly_full")

    return Check("descriptors", observe, _TURNS_AWAY, measurement="open", component_type="system")


def dependency_check(modules: Iterable[str], period_seconds: float = 2.0) -> Check:
    """Fail ``/health`` while a module cannot be found. Imports nothing.

    Parameters
    ----------
    modules : iterable of str
        For a dotted name that is not imported yet, only the package is searched: more would import it.
    period_seconds : float
        Between two observations, made on their own thread.
    """
    wanted = tuple(modules)

    def observe() -> Observation:
        for name in wanted:
            if (missing := _missing(name)) is not None:
                text = f"No module named {missing!r}"
                return failed(text, code="dependency_missing", message=f"Health check failed: {text}")
        return passed(len(wanted), "modules")

    return Check("dependencies", observe, measurement="importable", period_seconds=period_seconds)


def gpu_memory_check(warn_share: float = GPU_WARN_SHARE, period_seconds: float = 2.0) -> Check | None:
    """Warn when the memory of a GPU is nearly full. Returns None without a GPU or without ``nvidia-ml-py``.

    Parameters
    ----------
    warn_share : float
        Share of the memory of the fullest GPU.
    period_seconds : float
        Between two queries of the driver, made on their own thread.
    """
    try:
        nvml: Any = importlib.import_module("pynvml")
        nvml.nvmlInit()
        cards = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    except Exception:  # no module, no driver or no library: there is nothing to check
        return None
    if not cards:
        return None

    def observe() -> Observation:
        uses = [nvml.nvmlDeviceGetMemoryInfo(card) for card in cards]
        share, index = max((use.used / use.total, index) for index, use in enumerate(uses))
        percent = round(100 * share, 1)
        if share < warn_share:
            return passed(percent, "percent")
        total = uses[index].total / 2**30
        return warned(
            f"{percent:g} % of {total:.1f} GiB in use on card {index}", percent, "percent", code="nearly_full"
        )

    return Check(
        "gpu_memory", observe, measurement="utilization", component_type="system", period_seconds=period_seconds
    )


def _missing(name: str) -> str | None:
    if name in sys.modules:
        return name if sys.modules[name] is None else None  # Python blocks an import with None here
    package = name.partition(".")[0]
    if package in sys.modules:
        return package if sys.modules[package] is None else None
    return package if importlib.util.find_spec(package) is None else None
