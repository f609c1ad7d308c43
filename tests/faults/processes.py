"""What the system knows about processes and can do to them: the proof that a fault was injected."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
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
    """Every process below a process: workers, their fork server, the preparation of a checkpoint."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                for child in map(int, (task / "children").read_text().split()):
                    found += [child, *descendants(child)]
    return found


def commands(pid: int) -> dict[int, str]:
    """The command line of each process directly below a process."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, (task / "children").read_text().split()):
                found[child] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
    return found


class TaskGroup:
    """A control group that limits processes and threads, for the processes that are moved to it."""

    def __init__(self) -> None:
        root = Path("/sys/fs/cgroup")
        base = root / "pids" if (root / "pids").is_dir() else root
        self._group = base / f"drill-{os.getpid()}"
        self._base = base

    def __enter__(self) -> TaskGroup:
        self._group.mkdir()
        if not (self._group / "pids.max").exists():
            self._group.rmdir()
            raise PermissionError("the control group has no limit of tasks")
        return self

    def add(self, *pids: int) -> None:
        for pid in pids:
            (self._group / "cgroup.procs").write_text(str(pid))

    def limit(self, tasks: int | str) -> None:
        (self._group / "pids.max").write_text(str(tasks))
        assert (self._group / "pids.max").read_text().strip() == str(tasks)

    def __exit__(self, *_: object) -> None:
        self.limit("max")
        for pid in (self._group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                (self._base / "cgroup.procs").write_text(pid)
        wait_until(lambda: not (self._group / "cgroup.procs").read_text(), "the control group is empty")
        self._group.rmdir()


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


def _waited(pid: int) -> dict[str, int]:
    """Nanoseconds that each thread of a process has waited for a processor."""
    found = {}
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError, IndexError):
                found[task.name] = int((task / "schedstat").read_text().split()[1])
    return found


class ProcessorWait:
    """The time in which threads of some processes waited for a processor: what a busy machine adds to their answers.

    Of the time between two readings, the wait of the thread that waited longest counts. So threads that wait at the
    same time count once.

    Parameters
    ----------
    pids : int

    Attributes
    ----------
    seconds : float
        As of the last reading.
    """

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self.seconds = 0.0
        self._read_at, self._last = time.monotonic(), self._threads()

    def read(self) -> float:
        """Take a reading; returns the seconds so far."""
        now, threads = time.monotonic(), self._threads()
        waited = max((total - self._last.get(thread, 0) for thread, total in threads.items()), default=0) / 1e9
        self.seconds += min(waited, now - self._read_at)
        self._read_at, self._last = now, threads
        return self.seconds

    def _threads(self) -> dict[str, int]:
        return {thread: total for pid in self._pids for thread, total in _waited(pid).items()}


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
