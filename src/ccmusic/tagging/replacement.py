"""A file is replaced by a changed copy, in one step: at any moment its name stands for the old file or for the new one.

::

    lock -> copy beside it -> change and check the copy -> flush it -> rename it over the file -> flush the folder
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ccmusic.errors import TagError
from ccmusic.process.file_locks import NoFileLocks, take_lock

COPY_PREFIX, COPY_SUFFIX = ".ccmusic-", ".tmp"
STEPS = (
    "locked",
    "begun",
    "copied",
    "alike",
    "changed",
    "checked",
    "flushed",
    "announced",
    "renamed",
    "settled",
    "done",
)
"""After each of them `on_step` is called. Up to ``announced`` the file is the old one, then the new one."""

OnStep = Callable[[str], object]


def copy_name() -> str:
    """A name for a copy: hidden, and no recording for programs that watch the folder."""
    return f"{COPY_PREFIX}{secrets.token_hex(8)}{COPY_SUFFIX}"


def is_copy_name(name: str) -> bool:
    """Whether `copy_name` could have made this name."""
    return name.startswith(COPY_PREFIX) and name.endswith(COPY_SUFFIX) and "/" not in name


@contextmanager
def locked(path: Path) -> Iterator[os.stat_result]:
    """Hold the file against other commands of ours, and give what the system knows of it.

    Raises
    ------
    TagError
        Another command holds it, it is no regular file, or it has further names (hard links), which a renaming parts.
    OSError
    """
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(number)
        if not stat.S_ISREG(about.st_mode):
            raise TagError("This is no regular file.")
        if about.st_nlink > 1:
            raise TagError(f"The file has {about.st_nlink} names (hard links), and the others would keep the old tags.")
        with suppress(NoFileLocks):  # the library may be on a share; the journal refuses the same command twice
            if not take_lock(number):
                raise TagError("Another command changes this file.")
        yield about
    finally:
        os.close(number)


def replace_file(
    path: Path,
    copy: Path,
    about: os.stat_result,
    change: Callable[[Path], object],
    check: Callable[[Path], object],
    announce: Callable[[str], object],
    *,
    keeps_times: bool,
    on_step: OnStep,
) -> None:
    """Replace a file by a changed copy.

    Parameters
    ----------
    path, copy : Path
        The file, and a name beside it that is not taken.
    about : os.stat_result
        Of the file when it was looked at; it must not have changed since.
    change, check : callable
        Changes the copy; raises an error if the copy must not become the file.
    announce : callable
        Called with the SHA-256 of the copy, immediately before the renaming.
    keeps_times : bool
        Whether the new file has the times of the old one.
    on_step : callable
        Called with the name of each step.

    Raises
    ------
    TagError
        The copy is refused, or the file was changed meanwhile. The file is as it was, and there is no copy.
    OSError
        The same.
    """
    try:
        _copy(path, copy, about)
        on_step("copied")
        _make_alike(path, copy, about)
        on_step("alike")
        change(copy)
        if keeps_times:
            os.utime(copy, ns=(about.st_atime_ns, about.st_mtime_ns))
        on_step("changed")
        check(copy)
        on_step("checked")
        flush(copy)
        on_step("flushed")
        content = content_hash(copy)
        _require_unchanged(about, path.lstat())
        announce(content)
        on_step("announced")
        copy.replace(path)
    except BaseException:
        with suppress(OSError):
            copy.unlink()
        raise
    on_step("renamed")
    flush(path.parent)
    on_step("settled")


def content_hash(path: Path) -> str:
    """The SHA-256 of all bytes of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Write a file, or the names in a folder, to the disk."""
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _copy(path: Path, copy: Path, about: os.stat_result) -> None:
    with path.open("rb") as source:
        _require_unchanged(about, os.fstat(source.fileno()))
        number = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "wb") as target:
            shutil.copyfileobj(source, target, 2**20)


def _make_alike(path: Path, copy: Path, about: os.stat_result) -> None:
    """Give the copy the owner, the mode, the times and the extended attributes of the file, access lists too."""
    made = copy.stat()
    if (made.st_uid, made.st_gid) != (about.st_uid, about.st_gid):
        try:
            os.chown(copy, about.st_uid, about.st_gid)
        except PermissionError as error:
            raise TagError("The file belongs to somebody else, to whom a new file cannot be given.") from error
    shutil.copystat(path, copy)
    lost = sorted(_attributes(path).items() - _attributes(copy).items())
    if lost:
        raise TagError(f"The extended attribute {lost[0][0]} of the file cannot be kept.")


def _attributes(path: Path) -> dict[str, bytes]:
    try:
        return {name: os.getxattr(path, name) for name in os.listxattr(path)}
    except OSError:  # a file system without them
        return {}


def _require_unchanged(before: os.stat_result, now: os.stat_result) -> None:
    kept = ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns", "st_nlink")
    if any(getattr(before, name) != getattr(now, name) for name in kept):
        raise TagError("Another program changed the file meanwhile.")
