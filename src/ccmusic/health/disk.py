"""Checks of a file system: that it takes what is written, and how much room is left."""

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
    """Room on a file system, as one without privileges sees it.

    Attributes
    ----------
    free_bytes : int
    total_bytes : int
        Free and used together.
    """

    free_bytes: int
    total_bytes: int

    @property
    def share(self) -> float:
        """How much of it is used, 0 to 1."""
        return 1 - self.free_bytes / self.total_bytes if self.total_bytes else 0.0


class DiskSpace:
    """Looks at the room on the file system of a directory, and keeps what it saw last.

    Parameters
    ----------
    directory : Path or str
    warn_share : float
        Of the room in use, from which on the check warns.

    Attributes
    ----------
    use : DiskUse or None
        As last seen; None before, or when it cannot be told.
    """

    def __init__(self, directory: Path | str, warn_share: float = 0.95) -> None:
        self.directory = directory
        self.use: DiskUse | None = None
        self._warn_share = warn_share

    def check(self, period_seconds: float = 2.0) -> Check:
        """Warn while little room is left; turns no probe false, since whether writing works is the other check's.

        Parameters
        ----------
        period_seconds : float
            Between two looks, which a thread of their own takes.
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
        except OSError:  # for the other check to say
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
    """Fail ``/health``, and nothing else, while a directory cannot be written to: work in memory goes on.

    Parameters
    ----------
    directory : Path or str
    period_seconds : float
        Between two attempts, which a thread of their own makes.
    size : int
        Bytes to write into a file without a name and to bring to the disk.
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
        while written < len(block):  # a disk that runs full takes a part first
            written += os.write(file.fileno(), block[written:])
        os.fsync(file.fileno())
