from __future__ import annotations

import os
from typing import Any

from ccmusic.batch.progress import RATE_SECONDS, Progress, memory_bytes


class Run:
    """A progress with a clock of its own, and its reports."""

    def __init__(self, **counts: int) -> None:
        self.now = 0.0
        self.reports: list[dict[str, Any]] = []
        zero = dict.fromkeys(("waiting", "ok", "failed", "skipped", "stale"), 0)
        self.progress = Progress(zero | counts, self.reports.append, lambda: self.now)

    def work(self, seconds: float, *statuses: str) -> None:
        self.now += seconds
        self.progress.note(list(statuses))
        self.progress.tick()


def test_counts_rate_and_time_left() -> None:
    run = Run(waiting=10, ok=5)
    run.progress.tick()
    run.work(2.0, "ok", "failed", "skipped", "ok")
    first, last = run.reports
    assert (first["found"], first["tracks_per_second"], first["seconds_left"]) == (15, None, None)
    assert (last["found"], last["waiting"], last["ok"], last["failed"], last["skipped"]) == (15, 6, 7, 1, 1)
    assert (last["tracks_per_second"], last["seconds_left"]) == (2.0, 3.0)


def test_the_rate_is_that_of_the_last_minutes() -> None:
    run = Run(waiting=1000)
    for _ in range(50):
        run.work(1.0, "ok", "ok", "ok", "ok")
    assert run.reports[-1]["tracks_per_second"] == 4.0
    for _ in range(round(RATE_SECONDS) + 2):
        run.work(1.0, "ok")
    assert run.reports[-1]["tracks_per_second"] == 1.0


def test_reports_are_a_second_apart() -> None:
    run = Run(waiting=100)
    for _ in range(9):
        run.work(0.25, "ok")
    assert [report["ok"] for report in run.reports] == [1, 5, 9]


def test_memory_is_that_of_this_process_at_least() -> None:
    assert os.sysconf("SC_PAGE_SIZE") < (memory_bytes() or 0) < 2**40
