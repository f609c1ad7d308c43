"""How far a run is: rate, time left, memory."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RATE_SECONDS = 120.0
"""The rate is that of so many last seconds."""

PERIOD_SECONDS = 1.0
"""Shortest time between two reports."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Progress:
    """Counts results, and reports them to a program or to people.

    Parameters
    ----------
    counts : Mapping of str to int
        The number of found tracks with each status at the start.
    report : callable
        Is called with `state`, at most every `PERIOD_SECONDS`.
    now : callable
        Returns seconds.
    """

    def __init__(
        self,
        counts: Mapping[str, int],
        report: Callable[[dict[str, Any]], object],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = dict(counts)
        self._report = report
        self._now = now
        self._samples: deque[tuple[float, int]] = deque([(now(), 0)])
        self._done = 0
        self._reported: float | None = None

    def note(self, statuses: list[str]) -> None:
        """So many waiting tracks have got these statuses."""
        for status in statuses:
            self.counts["waiting"] -= 1
            self.counts[status] += 1
        self._done += len(statuses)

    def tick(self) -> None:
        """Report, unless the last report is too young."""
        now = self._now()
        if self._reported is not None and now - self._reported < PERIOD_SECONDS:
            return
        self._reported = now
        self._samples.append((now, self._done))
        while len(self._samples) > 2 and now - self._samples[1][0] > RATE_SECONDS:
            self._samples.popleft()
        self._report(self.state())

    def state(self) -> dict[str, Any]:
        """Counts, ``tracks_per_second``, ``seconds_left`` and ``memory_bytes``; None for what is not known yet."""
        (first, done_before), (last, done) = self._samples[0], self._samples[-1]
        rate = (done - done_before) / (last - first) if done > done_before and last > first else None
        return {
            "found": sum(self.counts.values()),
            **self.counts,
            "tracks_per_second": None if rate is None else round(rate, 3),
            "seconds_left": None if rate is None else round(self.counts["waiting"] / rate, 1),
            "memory_bytes": memory_bytes(),
        }


def memory_bytes() -> int | None:
    """Resident memory of this process and of those that it has started; None where the system does not report it."""
    ids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    try:
        return sum(_resident(process_id) for process_id in ids if process_id is not None)
    except (OSError, ValueError, IndexError):
        return None


def _resident(process_id: int) -> int:
    try:
        return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * _PAGE
    except ProcessLookupError:
        return 0
    except FileNotFoundError:
        if process_id == os.getpid():
            raise
        return 0
