"""Recordings for a supervisor with real workers, and what its workers do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ccmusic.audio.windows import WindowPlan
from ccmusic.workers.channel import Job
from ccmusic.workers.supervisor import Supervisor
from support.recordings import bin_frequency, tone, wav
from support.waiting import wait_until

SHORT = Job(wav(tone(bin_frequency(37), 1.0)), WindowPlan(), False)
# a worker needs so long for it that a test can do something meanwhile
VERY_LONG = Job(wav(tone(440, 1200.0), form="FLAC"), WindowPlan(count=1000), False)
LONG = Job(wav(tone(440, 240.0)), WindowPlan(count=1000), False)


def ready(supervisor: Supervisor) -> Supervisor:
    """Wait until a worker is idle."""
    wait_until(lambda: any(w.state == "idle" for w in supervisor.state().workers), "a worker is idle")
    return supervisor


def busy(supervisor: Supervisor) -> int | None:
    """The index of a worker that has a recording."""
    return next((w.index for w in supervisor.state().workers if w.state == "busy"), None)


def working(supervisor: Supervisor) -> int | None:
    """The index of a worker that is processing a recording, as its stage shows."""
    return next((w.index for w in supervisor.state().workers if w.state == "busy" and w.stage != "idle"), None)


def seen(who: Callable[[Supervisor], int | None], supervisor: Supervisor) -> int:
    """The index of the worker that `busy` or `working` finds, as soon as there is one; a later look may find none."""
    found: list[int] = []

    def look() -> bool:
        found.extend(index for index in [who(supervisor)] if index is not None)
        return bool(found)

    wait_until(look, "the job has begun")
    return found[0]


def parent_of(pid: int) -> int:
    """The parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def runs(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
