"""A file that is there as a whole or not at all: written beside its place, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ccmusic.batch.disk_errors import disk_errors
from ccmusic.errors import InvalidParameter


@contextmanager
def whole_file(path: Path, flag: str = "--out") -> Iterator[BinaryIO]:
    """Open a file for writing that takes its place when everything is written and on disk.

    If the block raises, or the process is killed, the place is as before. A killed process may leave a hidden file
    with ``.incomplete`` at the end of its name, which can be deleted.

    Parameters
    ----------
    path : Path
        Its folder is made if it is missing. A link stays, and the file that it names is replaced.
    flag : str
        The argument that named the path, for messages.

    Yields
    ------
    BinaryIO

    Raises
    ------
    InsufficientStorage
        No space is left.
    InvalidParameter
        The place is not one of a regular file, or cannot be written.
    """
    with disk_errors(path, flag):
        place = path.resolve()
        if place.exists() and not place.is_file():
            raise InvalidParameter(flag, f"is {path}, which is not a regular file: name another")
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name[:100]}.{secrets.token_hex(4)}.incomplete")
        with _removed_unless_renamed(partial):
            # "x": nobody else's file is opened, whatever its name
            with partial.open("xb") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            partial.replace(place)
            _sync_folder(place.parent)


@contextmanager
def _removed_unless_renamed(partial: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some network file systems cannot; the file itself is on disk
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
