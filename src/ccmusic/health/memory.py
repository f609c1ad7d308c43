"""The check that memory is left: it fails shortly before the kernel would refuse more."""

from __future__ import annotations

from dataclasses import replace

from ccmusic.health.check import Check, Observation, Probe, failed, passed, warned
from ccmusic.health.clock import CLOCK
from ccmusic.health.memory_limits import MemoryUse, memory_stall, memory_use

__all__ = ["MemoryUse", "WriteWatch", "memory_check", "memory_use"]

UNWRITTEN_SECONDS = 60.0
"""The kernel writes changed file pages after about 30 s (``vm.dirty_expire_centisecs``)."""

_AFFECTS: frozenset[Probe] = frozenset({"health", "readyz"})


class WriteWatch:
    """Whether the kernel still writes changed file pages to the disk.

    If a disk takes no more, the kernel cannot take the pages back, so they are in use.
    """

    def __init__(self) -> None:
        self._unwritten_bytes = 0
        self._fell_at: float | None = None

    def has_stopped(self, unwritten_bytes: int, now: float) -> bool:
        """Whether the number of unwritten bytes has not fallen for `UNWRITTEN_SECONDS`.

        Parameters
        ----------
        unwritten_bytes : int
        now : float
            In seconds, on the clock of this process.
        """
        if self._fell_at is None or unwritten_bytes < self._unwritten_bytes or unwritten_bytes == 0:
            self._fell_at = now
        self._unwritten_bytes = unwritten_bytes
        return now - self._fell_at >= UNWRITTEN_SECONDS


def memory_check(warn_share: float = 0.9, fail_share: float = 0.97, stall_share: float = 0.5) -> Check:
    """Fail ``/health`` and ``/readyz`` shortly before the kernel would kill the process: new work would cause that.

    Page cache is not in use, see `memory_limits`. While there is swap, the kernel does not refuse memory, and the
    check only warns.

    Parameters
    ----------
    warn_share, fail_share : float
        Share of the limit of the control group, or of the memory of the machine if there is none.
    stall_share : float
        Warn if all processes of the control group waited for memory in more than this share of the last ten seconds.
        This does not fail: it happens as well while another program in the group writes a large file.
    """
    writing = WriteWatch()

    def observe() -> Observation:
        use = memory_use()
        if use is None:
            return passed()
        if writing.has_stopped(use.unwritten_bytes, CLOCK.now()):
            use = replace(use, used_bytes=use.used_bytes + use.unwritten_bytes)
        percent = round(100 * use.share, 1)
        cause = f"{percent:g} % of {use.limit_bytes / 2**30:.2f} GiB in use ({use.limited_by})"
        if use.fixed_share >= fail_share:
            return failed(cause, percent, "percent", code="nearly_full")
        if use.share >= warn_share:
            swap = f"; {use.swap_bytes / 2**30:.2f} GiB can go to swap" if use.swap_bytes else ""
            return warned(cause + swap, percent, "percent", code="nearly_full")
        stall = memory_stall()
        if stall is not None and stall >= stall_share:
            waited = f"its processes waited for memory in {100 * stall:.0f} % of the last 10 s (memory.pressure)"
            return warned(waited, percent, "percent", code="under_pressure")
        return passed(percent, "percent")

    return Check("memory", observe, _AFFECTS, measurement="utilization", component_type="system")
