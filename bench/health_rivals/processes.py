"""What the kernel says about a process: the proof that a fault happened."""

from __future__ import annotations

import os
from pathlib import Path


def state(pid: int) -> str | None:
    """The letter in ``/proc/PID/stat`` (R, S, D, T, Z); None when there is no such process."""
    fields = _stat(pid)
    return fields[0] if fields else None


def runs(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    return state(pid) not in (None, "Z", "X")


def of_session(leader: int) -> set[int]:
    """The processes of the session that a process opened; that is a whole service."""
    pids = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    return {pid for pid in pids if (fields := _stat(pid)) and int(fields[3]) == leader}


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far; 0 when it is gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()  # the name in brackets may hold anything
