"""One process at a time fills a cache entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ccmusic.errors import DependencyUnavailable, of_extra


@contextmanager
def file_lock(path: Path, on_wait: Callable[[], object]) -> Iterator[None]:
    """Hold the lock on `path`; the kernel releases it if the process dies.

    Parameters
    ----------
    path : Path
        The lock file; its directory exists.
    on_wait : callable
        Called once if another process or thread holds the lock.

    Raises
    ------
    DependencyUnavailable
        The package ``filelock`` is not installed.
    OSError
        The lock file cannot be written.
    """
    with of_extra("import", "the cache of checkpoints needs the package filelock", kind=DependencyUnavailable):
        from filelock import FileLock, Timeout  # imported late: a dependency of the extras hub and import only
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
