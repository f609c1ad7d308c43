"""Directories of temporary files that belong to one process, and that the next one deletes if it was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from ccmusic.process.file_locks import take_lock


class PrivateDirectory:
    """A new directory that only this user can read, locked while this process runs.

    Directories with the same prefix whose process has ended, however it ended, are deleted first. It may block as long
    as the disk does, like each of its methods.

    Parameters
    ----------
    prefix : str
    parent : Path, optional
        By default the directory of temporary files.

    Attributes
    ----------
    path : Path

    Raises
    ------
    OSError
        It cannot be created.
    """

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        delete_ownerless(prefix, parent)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self.path, ignore_errors=True)
            self._lock = os.open(self.path, os.O_RDONLY)
            undo.callback(os.close, self._lock)
            take_lock(self._lock, waits=True)
            undo.pop_all()

    def is_same(self, found: os.stat_result) -> bool:
        """Whether this is the directory itself, and not another one in its place."""
        return os.path.samestat(found, os.fstat(self._lock))

    def delete(self) -> None:
        """Delete the directory, with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def delete_ownerless(prefix: str, parent: Path) -> None:
    """Delete the directories that killed processes have left."""
    for left in parent.glob(f"{prefix}*"):
        with suppress(OSError):  # it belongs to another user, or was just deleted
            lock = os.open(left, os.O_RDONLY)
            try:
                if take_lock(lock):
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)
