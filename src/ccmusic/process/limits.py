"""Why the system refuses a process, a thread or memory, in words: which limit is reached, and what to do."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/")


def why_not_started(error_number: int, what: str = "process") -> str:
    """The cause of a failed fork, with the limits that may have caused it.

    Parameters
    ----------
    error_number : int
    what : str
        ``process`` or ``thread``.
    """
    reason = f"no {what} can be started: {os.strerror(error_number)}"
    if error_number == errno.EAGAIN:
        limits = [*_ulimit("u", resource.RLIMIT_NPROC), *task_limits()]
        return f"{reason}: a limit of processes is reached ({_listed(limits)}); end other processes, or raise the limit"
    if error_number == errno.ENOMEM:
        return f"{reason}: {no_memory()}"
    return reason


def no_memory() -> str:
    """The limits of memory, and what to do when one is reached."""
    limits = [*_ulimit("v", resource.RLIMIT_AS), *memory_limits()]
    return f"a limit of memory is reached ({_listed(limits)}); end other processes, or raise the limit"


def _listed(limits: list[str]) -> str:
    return "; ".join(limits) or "of the user, of the container or of the machine"


def _ulimit(letter: str, kind: int) -> list[str]:
    soft, _ = resource.getrlimit(kind)
    unit = 1024 if kind == resource.RLIMIT_AS else 1
    return [] if soft == resource.RLIM_INFINITY else [f"ulimit -{letter} is {soft // unit}"]


def task_limits(root: Path = ROOT) -> list[str]:
    """The limits of tasks of the control groups of this process, from its own group up to the root.

    Parameters
    ----------
    root : Path
        Directory that contains ``proc`` and ``sys``.
    """
    found = []
    for group in _groups("pids", root):
        with suppress(OSError):
            limit, used = ((group / name).read_text().strip() for name in ("pids.max", "pids.current"))
            if limit != "max":
                found.append(f"pids.max of the control group is {limit}, {used} are in use")
    return found


def memory_limits(root: Path = ROOT) -> list[str]:
    """The limits of memory of the control groups of this process, in MB; see `task_limits`."""
    found = []
    for group in _groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # no such file, or "max"
                limit = int((group / name).read_text())
                if limit < NO_LIMIT_BYTES:
                    found.append(f"{name} of the control group is {limit / 2**20:.0f} MB")
    return found


NO_LIMIT_BYTES = 2**60
"""The first version of the control groups writes a number like this for no limit."""


def oom_kills(root: Path = ROOT) -> int:
    """Processes that the out-of-memory killer has ended in the control group of this process; see `task_limits`."""
    for group in _groups("memory", root):
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError, ValueError, IndexError):
                words = (group / name).read_text().split()
                return int(words[words.index("oom_kill") + 1])
    return 0


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The control groups of this process with a controller, the innermost first."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounted = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = mounted / controller if controllers else mounted
        group = Path(path.lstrip("/"))
        # In a container the path is often that of the host, which does not exist here; the mount is the group itself.
        yield from (base / inner for inner in dict.fromkeys((group, *group.parents, Path())))
