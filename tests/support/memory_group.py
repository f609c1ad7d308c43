"""A memory control group of a test's own, of version 1 or 2, below the group that the test runs in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.waiting import wait_until

CGROUPS = Path("/sys/fs/cgroup")


class MemoryGroup:
    """A control group whose memory can be limited.

    Parameters
    ----------
    path : Path
        Its directory.
    version : {1, 2}
    """

    def __init__(self, path: Path, version: int) -> None:
        self.path = path
        self.version = version

    @property
    def entering(self) -> tuple[str, ...]:
        """A command that runs the command after it in this group."""
        return "sh", "-c", f'echo $$ > {self.path}/cgroup.procs && exec "$@"', "sh"

    @property
    def processes(self) -> list[int]:
        return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]

    @property
    def usage_bytes(self) -> int:
        """All memory of the group, with the page cache."""
        return int((self.path / ("memory.usage_in_bytes" if self.version == 1 else "memory.current")).read_text())

    @property
    def limit_bytes(self) -> int:
        return int(self._limit.read_text())

    @limit_bytes.setter
    def limit_bytes(self, limit: int) -> None:
        """The kernel takes pages back at once if more are in use; an error if it cannot."""
        self._limit.write_text(str(limit))

    @property
    def _limit(self) -> Path:
        return self.path / ("memory.limit_in_bytes" if self.version == 1 else "memory.max")

    def stat(self, name: str) -> int:
        """A number of ``memory.stat``, such as ``active_file``."""
        words = (self.path / "memory.stat").read_text().split()
        return int(words[words.index(f"total_{name}" if self.version == 1 else name) + 1])

    @property
    def n_killed(self) -> int:
        """How many processes the kernel has killed because memory was missing."""
        words = (self.path / ("memory.oom_control" if self.version == 1 else "memory.events")).read_text().split()
        return int(words[words.index("oom_kill") + 1])


@contextmanager
def memory_group(name: str) -> Iterator[MemoryGroup]:
    """Make a group; skip the test with the reason if that is not possible here."""
    group = _make(name)
    try:
        yield group
    finally:
        wait_until(lambda: not group.processes, "the control group is empty")
        group.path.rmdir()


def _make(name: str) -> MemoryGroup:
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    first = next((path for _, controllers, path in own if "memory" in controllers.split(",")), None)
    second = next((path for _, controllers, path in own if not controllers), None)
    if first is None and second is None:
        pytest.skip("this system has no control groups")
    version = 2 if first is None else 1
    parent = CGROUPS / (second if first is None else f"memory{first}").lstrip("/")
    group = parent / f"{name}-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        if version == 2 and not (group / "memory.max").exists():
            (parent / "cgroup.subtree_control").write_text("+memory")
    except OSError as error:
        group.rmdir()
        pytest.skip(f"the memory of a control group cannot be limited here: {error}")
    return MemoryGroup(group, version)
