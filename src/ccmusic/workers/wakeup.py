"""Wakes a thread that waits on file descriptors."""

from __future__ import annotations

import os
from contextlib import suppress


class Wakeup:
    """A flag that `multiprocessing.connection.wait` can wait for together with a worker's pipe.

    `threading.Event` has no file descriptor, so this is a pipe to itself.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    @property
    def descriptor(self) -> int:
        """The file descriptor to wait on; it is readable while the flag is set."""
        return self._read

    def wake(self) -> None:
        """Set the flag, from any thread. Nothing happens if it is set already."""
        with suppress(BlockingIOError, OSError):
            os.write(self._write, b"!")

    def clear(self) -> None:
        """Reset the flag."""
        with suppress(BlockingIOError):
            while os.read(self._read, 64):
                pass

    def close(self) -> None:
        """Release the file descriptors."""
        os.close(self._read)
        os.close(self._write)
