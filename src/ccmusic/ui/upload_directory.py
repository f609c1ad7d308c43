"""The directory for the uploads of the page: private, locked by this process, and watched."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from ccmusic.process.private_directory import PrivateDirectory

KEEP_SECONDS = 3600
"""How long an upload is kept."""
SWEEP_SECONDS = 60
"""Time between two looks for old uploads."""
PREFIX = "ccmusic-page-"
VARIABLE = "GRADIO_TEMP_DIR"
"""Gradio reads it for each component and each upload."""

_PROBE = b"\0" * 4096


class DirectoryLost(OSError):
    """The directory, or a file that the page needs in it, is no longer there."""


class UploadDirectory(PrivateDirectory):
    """A new directory for the uploads of this process. Directories that killed processes have left are deleted first.

    It may block as long as the disk does, like each of its methods.

    Attributes
    ----------
    path : Path
    needed : tuple of Path
        The files of the page itself.

    Raises
    ------
    OSError
        It cannot be created.
    """

    def __init__(self) -> None:
        self._configured = os.environ.get(VARIABLE)
        if self._configured:
            Path(self._configured).mkdir(parents=True, exist_ok=True)
        super().__init__(PREFIX, Path(self._configured) if self._configured else None)
        self.needed: tuple[Path, ...] = ()
        os.environ[VARIABLE] = str(self.path)

    def need_files(self) -> None:
        """From now on, every file that is in the directory at present is needed."""
        self.needed = tuple(path for path in self.path.rglob("*") if path.is_file())

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
        if not self.is_same(found):
            raise DirectoryLost(errno.ESTALE, "another directory is in its place", str(self.path))
        for file in self.needed:
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
