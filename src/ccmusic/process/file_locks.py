"""Locks that the kernel releases when the process ends, in whatever way. They hold only against programs that ask."""

from __future__ import annotations

import fcntl


class NoFileLocks(OSError):
    """The file cannot be locked where it is: some network shares have no locks."""


def take_lock(descriptor: int, *, shared: bool = False, waits: bool = False) -> bool:
    """Lock an open file or folder until it is closed.

    Parameters
    ----------
    descriptor : int
        Open for reading at least; for an exclusive lock on NFS, open for writing.
    shared : bool
        Others may have a shared lock too, but none may have one for itself.
    waits : bool
        Wait until the lock is free.

    Returns
    -------
    bool
        False if another process, or another open file of this one, holds it.

    Raises
    ------
    NoFileLocks
        With the number and the text of the system.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind if waits else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # which number means that there are no locks depends on the file system
        raise NoFileLocks(error.errno, error.strerror) from error
    return True
