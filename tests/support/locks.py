"""A file system without locks, such as NFS without its lock service."""

from __future__ import annotations

import errno
import os

import pytest

from ccmusic.process import file_locks

WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""What such file systems answer, each another."""


def no_locks(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOLCK) -> list[int]:
    """Let every attempt to lock a file fail with this number of the system; gets the descriptors of the attempts."""
    tried: list[int] = []

    def refuse(descriptor: int, kind: int) -> None:
        tried.append(descriptor)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(file_locks.fcntl, "flock", refuse)
    return tried
