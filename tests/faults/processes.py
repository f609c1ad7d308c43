"""What the system knows about processes and can do to them: the proof that a fault was injected."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.waiting import wait_until


def state(pid: int) -> str | None:
    """The letter of `/proc/PID/stat` (R, S, D, T, Z, ...); None if there is no such process."""
    try:
        # the name of a process may contain spaces and brackets; the state follows the last bracket
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def has_ended(pid: int) -> bool:
    """Whether the process has ended; a zombie has."""
    return state(pid) in (None, "Z", "X")


def descendants(pid: int) -> list[int]:
    """Every process below a process: workers, their fork server, its resource tracker."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                for child in map(int, (task / "children").read_text().split()):
                    found += [child, *descendants(child)]
    return found


def parent(pid: int) -> int:
    """The process that started this one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def started_at(pid: int) -> str | None:
    """When the process started, in kernel ticks: with the id this names one process and no later one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def virtual_bytes(pid: int) -> int:
    """Address space in use, which `RLIMIT_AS` limits."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int:
    """Resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def n_descriptors(pid: int) -> int:
    """Open file descriptors."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def pin(pid: int, cpu: int) -> None:
    """Keep every thread of a process on one processor, and prove it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {cpu})
    assert os.sched_getaffinity(pid) == {cpu}


def may_mount() -> bool:
    """Whether this user may mount a file system in a mount namespace of its own."""
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, check=False, capture_output=True).returncode == 0
    )


@contextmanager
def burners(count: int, cpu: int, niceness: int = 0) -> Iterator[list[int]]:
    """Processes that only use the time of one processor."""
    loop = (
        f"import os; os.sched_setaffinity(0, {{{cpu}}}); os.setpriority(os.PRIO_PROCESS, 0, {niceness})\nwhile 1: pass"
    )
    started = [subprocess.Popen([sys.executable, "-S", "-c", loop]) for _ in range(count)]
    try:
        for process in started:
            pid = process.pid
            wait_until(lambda pid=pid: os.sched_getaffinity(pid) == {cpu}, "the burner is on its processor")
            wait_until(lambda pid=pid: state(pid) == "R", "the burner runs")
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
