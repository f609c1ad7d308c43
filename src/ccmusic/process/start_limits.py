"""What a server needs of the system to start, compared with the limits before anything is opened or started.

Without this, a limit that is too low shows as an error in the middle of the start, or as a thread that is missing.
"""

from __future__ import annotations

import errno
import resource
import threading

from ccmusic.process.limits import why_not_started

_KINDS = {
    "descriptors": (resource.RLIMIT_NOFILE, 1, "descriptors", "-n"),
    "file_kilobytes": (resource.RLIMIT_FSIZE, 1024, "kilobytes in a file", "-f"),
    "memory_kilobytes": (resource.RLIMIT_AS, 1024, "kilobytes of address space", "-v"),
}
"""Limit, its unit in bytes, what it limits, and the option of ``ulimit`` in bash."""


class LimitTooLow(Exception):
    """A limit of the system is too low for this program; the text has what it needs, the limit, and what to do."""


def require_limits(*, descriptors: int = 0, file_kilobytes: int = 0, memory_kilobytes: int = 0) -> None:
    """Compare the limits of this process with what it needs.

    Raises
    ------
    LimitTooLow
    """
    needs = {"descriptors": descriptors, "file_kilobytes": file_kilobytes, "memory_kilobytes": memory_kilobytes}
    for name, need in needs.items():
        kind, unit, what, option = _KINDS[name]
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY and limit // unit < need:
            raise LimitTooLow(f"the server needs {need} {what}, the limit is {limit // unit}: raise ulimit {option}")


def require_threads(count: int) -> None:
    """Start threads, as many as the program will need, and end them.

    The limit of the user counts the processes of other programs too, and control groups have limits of their own. So
    only a trial tells whether there is room.

    Raises
    ------
    LimitTooLow
    """
    ended = threading.Event()
    threads = [threading.Thread(target=ended.wait, daemon=True) for _ in range(count)]
    started = 0
    try:
        for thread in threads:
            thread.start()
            started += 1
    except RuntimeError as error:
        cause = why_not_started(errno.EAGAIN, "thread")
        raise LimitTooLow(f"the server needs {count} threads, {started} could be started: {cause}") from error
    finally:
        ended.set()
        for thread in threads[:started]:
            thread.join()
