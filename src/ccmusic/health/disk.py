"""Checks of a file system: whether it is writable, and how much space is left."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ccmusic.health.check import Check, Observation, failed, passed, warned

__all__ = ["DiskSpace", "DiskUse", "disk_check"]

_DISK_CAUSES = {
    errno.ENOSPC: "no space left",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "input/output error",
    errno.EFBIG: "the limit on the size of files is reached",
    errno.EACCES: "permission denied",
    errno.ENOENT: "no such directory",
    errno.ENOTDIR: "not a directory",
} | ({errno.EDQUOT: "the quota is used up"} if hasattr(errno, "EDQUOT") else {})


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Space on a file system, as a user without privileges sees it.

    Attributes
    ----------
    free_bytes : int
    total_bytes : int
        Sum of free and used space.
    """

    free_bytes: int
    total_bytes: int

    @property
    def share(self) -> float:
        """Used share, 0 to 1."""
        return 1 - self.free_bytes / self.total_bytes if self.total_bytes else 0.0


class DiskSpace:
    """Observes the space on the file system of a directory and keeps the last result.

    Parameters
    ----------
    directory : Path or str
    warn_share : float
        Used share from which the check warns.

    Attributes
    ----------
    use : DiskUse or None
        The last result; None before the first one, or if it is unknown.
    """

    def __init__(self, directory: Path | str, warn_share: float = 0.95) -> None:
        self.directory = directory
        self.use: DiskUse | None = None
        self._warn_share = warn_share

    def check(self, period_seconds: float = 2.0) -> Check:
        """Warn while little space is left. No probe fails: `disk_check` tests whether writing works.

        Parameters
        ----------
        period_seconds : float
            Between two observations, made on their own thread.
        """
        return Check(
            "disk_space",
            self._observe,
            measurement="utilization",
            component_type="system",
            period_seconds=period_seconds,
        )

    def _observe(self) -> Observation:
        try:
            usage = shutil.disk_usage(self.directory)
        except OSError:  # disk_check reports it
            self.use = None
            return passed()
        self.use = use = DiskUse(usage.free, usage.free + usage.used)
        percent = round(100 * use.share, 1)
        if use.share < self._warn_share:
            return passed(percent, "percent")
        return warned(
            f"{use.free_bytes / 2**20:,.0f} MiB are left in {self.directory}", percent, "percent", code="nearly_full"
        )


def disk_check(directory: Path | str, period_seconds: float = 2.0, size: int = 65536) -> Check:
    """Fail only ``/health`` while a directory is not writable: work in memory continues.

    Parameters
    ----------
    directory : Path or str
    period_seconds : float
        Between two attempts, made on their own thread.
    size : int
        Number of bytes to write into an unnamed file and to sync to the disk.
    """
    block = b"\0" * size

    def observe() -> Observation:
        try:
            _write(directory, block)
        except OSError as error:
            if error.errno is None:
                raise
            cause = _DISK_CAUSES.get(error.errno, error.strerror)
            name = errno.errorcode.get(error.errno, error.errno)
            return failed(f"{cause} ({name}) in {directory}", code="not_writable")
        return passed()

    return Check("disk", observe, measurement="write", component_type="system", period_seconds=period_seconds)


def _write(directory: Path | str, block: bytes) -> None:
    with tempfile.TemporaryFile(buffering=0, dir=directory) as file:
        written = 0
        while written < len(block):  # a disk that becomes full accepts a part first
            written += os.write(file.fileno(), block[written:])
        os.fsync(file.fileno())
