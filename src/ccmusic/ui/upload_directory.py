"""The directory for the uploads of the page: private, locked by this process, and watched."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "ccmusic-page-"
VARIABLE = "GRADIO_TEMP_DIR"
"""Gradio reads it for each component and each upload."""

_PROBE = b"\0" * 4096


class DirectoryLost(OSError):
    """The directory, or a file that the page needs in it, is no longer there."""


class UploadDirectory:
    """A new directory for the uploads of this process. Directories that killed processes have left are deleted first.

    It may block as long as the disk does, like each of its methods.

    Attributes
    ----------
    path : Path

    Raises
    ------
    OSError
        It cannot be created.
    """

    def __init__(self) -> None:
        self._configured = os.environ.get(VARIABLE)
        parent = Path(self._configured or tempfile.gettempdir())
        if self._configured:
            parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob(f"{PREFIX}*"):
            _remove_if_ownerless(left)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self._files: tuple[Path, ...] = ()
        try:
            self._lock = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)  # the kernel releases it when this process ends, however it ends
        except OSError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        os.environ[VARIABLE] = str(self.path)

    def need_files(self) -> None:
        """From now on, every file that is in the directory at present is needed."""
        self._files = tuple(path for path in self.path.rglob("*") if path.is_file())

    def check(self) -> None:
        """Try to write into the directory.

        Raises
        ------
        DirectoryLost
            The directory was removed or replaced, or a needed file is missing: only a new directory helps.
        OSError
            It cannot be written to at present.
        """
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise DirectoryLost(errno.ENOENT, "it was removed", str(self.path)) from None
        if not os.path.samestat(found, os.fstat(self._lock)):
            raise DirectoryLost(errno.ESTALE, "another directory is in its place", str(self.path))
        for file in self._files:
            try:
                file.stat()
            except (FileNotFoundError, NotADirectoryError):
                raise DirectoryLost(errno.ENOENT, "a file of the page was removed", str(file)) from None
        with tempfile.TemporaryFile(buffering=0, dir=self.path) as probe:
            written = os.write(probe.fileno(), _PROBE)
            if written < len(_PROBE):  # a disk that becomes full accepts a part first
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(probe.fileno())

    def release(self) -> None:
        """Set the variable of Gradio as it was before. Does not block."""
        if self._configured is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = self._configured

    def delete(self) -> None:
        """Delete the directory, with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _remove_if_ownerless(directory: Path) -> None:
    with suppress(OSError):  # it belongs to another user, is in use, or was just deleted
        lock = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(lock)
