"""Another program in the control group of the service: it fills the page cache, or takes memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Self

from support.memory_group import MemoryGroup

MEGABYTE = 2**20
_PROGRAM = f"""
import mmap, sys
open("/proc/self/oom_score_adj", "w").write("1000")  # if the kernel must kill a process, then this one
kept = []
for line in sys.stdin:
    order, path, size = line.rstrip().split("|")
    if order == "take":
        kept.append(bytearray(b"x") * int(size))
    elif order == "write":
        with open(path, "wb") as file:
            for _ in range(int(size) // {MEGABYTE}):
                file.write(bytes({MEGABYTE}))
    elif order == "read":
        with open(path, "rb") as file:
            while file.read({MEGABYTE}):
                pass
    elif order == "map":
        with open(path, "rb") as file:
            kept.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        sum(kept[-1][::mmap.PAGESIZE])
    print("done", flush=True)
"""


class Neighbour:
    """A process in a control group that does one order after the other.

    Parameters
    ----------
    group : MemoryGroup
    path : Path
        Its file.
    """

    def __init__(self, group: MemoryGroup, path: Path) -> None:
        self._path = path
        self._process = subprocess.Popen(
            [*group.entering, sys.executable, "-S", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def write(self, size: int) -> None:
        """Write its file again; the pages may not be on the disk yet when this returns."""
        self._do("write", size)

    def read(self) -> None:
        """Read its file. Pages that are read again go to the active list."""
        self._do("read")

    def map(self) -> None:
        """Map its file, touch each page, and keep it mapped."""
        self._do("map")

    def take(self, size: int) -> None:
        """Take memory and keep it."""
        self._do("take", size)

    def _do(self, order: str, size: int = 0) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{order}|{self._path}|{size}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer == "done\n", f"the neighbour ended with {self._process.wait()}"
