"""What a full disk, or a place that cannot be written, is called: the same for every file of `batch` and `tag`."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ccmusic.errors import InsufficientStorage, InvalidParameter


def is_full(error: OSError) -> bool:
    """Whether there is no room: the disk is full, or a quota or the largest size of a file is reached."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def full_disk(place: object, name: str) -> Iterator[None]:
    """Turn the error of a full disk in the ``with`` block into a typed one; other errors pass.

    Parameters
    ----------
    place : object
        What is written, for people.
    name : str
        The argument that named the place.

    Raises
    ------
    InsufficientStorage
    """
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise InsufficientStorage(
            f"No space is left for {place} ({error.strerror}). Make room, or name another place ({name}), and give the "
            "same command again."
        ) from error


@contextmanager
def disk_errors(place: object, name: str) -> Iterator[None]:
    """Turn errors of the system in the ``with`` block into typed ones; the arguments are those of `full_disk`.

    Raises
    ------
    InsufficientStorage
        There is no room.
    InvalidParameter
        The place cannot be written for another reason.
    BrokenPipeError
        The program that reads our output has ended.
    """
    try:
        with full_disk(place, name):
            yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise InvalidParameter(name, f"cannot be used: {error.strerror}; raise the limit (ulimit -n)") from error
        raise InvalidParameter(
            name, f"is {place}, which cannot be written: {error.strerror}; name another place"
        ) from error


@contextmanager
def temporary_file_errors() -> Iterator[None]:
    """The same for temporary files, whose folder the variable TMPDIR names.

    Raises
    ------
    InsufficientStorage, InvalidParameter
    """
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:  # it has tried to write into each
        raise InsufficientStorage(
            f"{error.strerror}. Make room in one of them, or name another folder in the variable TMPDIR."
        ) from error
    with disk_errors(f"the folder of temporary files {folder}", "TMPDIR"):
        yield
