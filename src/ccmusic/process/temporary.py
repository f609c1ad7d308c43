"""The directory of temporary files, also where the root is read-only and nothing is mounted at /tmp."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

logger = logging.getLogger(__name__)

OTHERS = ("/dev/shm", "/run")  # noqa: S108  memory that containers have without a mount
"""Directories that `tempfile` does not try."""


def choose_temporary_directory(others: tuple[str, ...] = OTHERS) -> str:
    """Return the directory of temporary files; this process and those that it starts use it from now on.

    Raises
    ------
    FileNotFoundError
        None of the directories can be written to; the text names them.
    """
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        for directory in others:
            if _can_be_written(directory):
                logger.warning("no usual directory of temporary files can be written to: %s is used", directory)
                tempfile.tempdir = os.environ["TMPDIR"] = directory
                return directory
        raise FileNotFoundError(
            f"no directory of temporary files can be written to: mount one at /tmp, or name one with TMPDIR ({error})"
        ) from error


def _can_be_written(directory: str) -> bool:
    try:
        with tempfile.TemporaryFile(dir=Path(directory)) as file:
            file.write(b"x")
    except OSError:
        return False
    return True
