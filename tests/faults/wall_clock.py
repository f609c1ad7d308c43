"""The wall clock of a service, set while it runs.

libfaketime 0.9.10 cannot do this: with the monotonic clock left alone, it fails every `time.sleep` of CPython 3.11 and
later (EINVAL), and turns the wait for the interpreter's lock into a busy loop.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest


class WallClock:
    """A wall clock that differs from the system's; skips the test where there is no C compiler.

    Parameters
    ----------
    directory : Path
        For the preloaded library and for the difference.

    Attributes
    ----------
    environment : dict of str to str
        Of the processes that are to read this clock.
    """

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("there is no C compiler")
        library = directory / "wall_clock.so"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
        self._offset = directory / "wall_clock_offset"
        self.set(0)
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET": str(self._offset)}

    def set(self, seconds: int) -> None:
        """Let the clock differ from the system's by this many seconds from now on."""
        fd = os.open(self._offset, os.O_WRONLY | os.O_CREAT)
        os.pwrite(fd, struct.pack("=q", seconds), 0)  # in place: the processes have mapped the file
        os.close(fd)
