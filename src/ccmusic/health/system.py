"""Checks of what the operating system gives: memory, descriptors, modules, a graphics card's memory."""

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
    """Open descriptors and the limit on them, None for no limit; None where the system does not say.

    Raises
    ------
    OSError
        There is not even a descriptor left to count with.
    """
    try:
        import resource  # not on Windows

        # The listing itself holds one. Names are enough: there may be a million.
        count = len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")) - 1  # noqa: PTH208
    except (ImportError, FileNotFoundError):
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # now, since prlimit may change it from outside
    return count, None if limit == resource.RLIM_INFINITY else limit


def descriptor_check(warn_share: float = 0.8, fail_share: float = 0.95) -> Check:
    """Fail ``/health`` and ``/readyz`` before no connection can be accepted any more.

    Parameters
    ----------
    warn_share, fail_share : float
        Of the soft limit on open descriptors.
    """

    def observe() -> Observation:
        try:
            use = descriptor_use()
        except OSError as error:
            if error.errno in _TOO_MANY_OPEN:
                return failed(
                    f"too many open files ({errno.errorcode[error.errno]}): none is left to count them with",
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
    """Fail ``/health`` while a module is not there to be imported; imports none.

    Parameters
    ----------
    modules : iterable of str
        Of a dotted name that is not imported yet only the package is looked for: more would import it.
    period_seconds : float
        Between two looks at the disk, which a thread of their own makes.
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
    """Warn when a graphics card's memory is nearly full; None without a card or without ``nvidia-ml-py``.

    Parameters
    ----------
    warn_share : float
        Of the fullest card's memory.
    period_seconds : float
        Between two questions to the driver, which a thread of their own asks.
    """
    try:
        nvml: Any = importlib.import_module("pynvml")
        nvml.nvmlInit()
        cards = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    except Exception:  # no such module, no driver, no library: nothing to watch, whatever it is called
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
        return name if sys.modules[name] is None else None  # None there is Python's way to forbid an import
    package = name.partition(".")[0]
    if package in sys.modules:
        return package if sys.modules[package] is None else None
    return package if importlib.util.find_spec(package) is None else None
