"""One run at a time writes a catalogue: a lock that the kernel releases when the process ends, in whatever way."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ccmusic.batch.disk_errors import full_disk
from ccmusic.errors import CatalogueError, CatalogueInUse
from ccmusic.process.file_locks import NoFileLocks, take_lock

LOCK_NAME = "run.lock"

GLANCE_SECONDS = 0.5
"""Longest time to wait for `is_running`, which holds the lock for a moment."""


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of results while a ``with`` block lasts.

    Raises
    ------
    CatalogueInUse
        Another run holds it.
    CatalogueError
        The lock cannot be written.
    InsufficientStorage
    """
    try:
        with full_disk(folder, "--out"):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise CatalogueError(f"{folder} cannot be written to: {error.strerror}") from error
    try:
        _lock(descriptor, folder)
        with full_disk(folder, "--out"):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_running(folder: Path) -> bool:
    """Whether a run holds the lock of a folder of results."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not take_lock(descriptor, shared=True)
    except NoFileLocks:  # no run starts there
        return False
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    deadline = time.monotonic() + GLANCE_SECONDS
    try:
        while not take_lock(descriptor):
            if time.monotonic() >= deadline:
                process = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
                raise CatalogueInUse(
                    f"{folder} is in use: the run of process {process or 'unknown'} writes it. Wait for its end, or "
                    "use another folder (--out)."
                )
            time.sleep(GLANCE_SECONDS / 10)
    except NoFileLocks as error:
        raise CatalogueError(f"{folder} cannot be locked: {error.strerror}. Use a folder on a local disk.") from error
