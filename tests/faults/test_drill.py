"""How a drill measures and judges, without a service."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from faults.drill import Once, Row
from faults.matrix import line
from faults.processes import ProcessorWait, burners
from faults.service import LOG_LINES, LOGS, ends_of_logs
from support.waiting import wait_until


def test_the_wait_for_a_processor_is_that_of_the_named_processes() -> None:
    cpu = max(os.sched_getaffinity(0))
    with burners(2, cpu) as (one, other):
        waits, none = ProcessorWait(one, other), ProcessorWait()
        wait_until(lambda: waits.read() > 0.2, "they wait for each other")
        assert none.read() == 0.0


def test_threads_that_wait_at_the_same_time_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 11.0, 12.0, 13.0])
    waited = iter([{"1": 0, "2": 0}, {"1": 9 * 10**8, "2": 8 * 10**8}, {"2": 10**9}, {"2": 10**9, "3": 5 * 10**9}])
    monkeypatch.setattr("faults.processes.time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr("faults.processes._waited", lambda _: next(waited))
    wait = ProcessorWait(1)
    assert wait.read() == pytest.approx(0.9)
    assert wait.read() == pytest.approx(1.1)
    assert wait.read() == pytest.approx(2.1), "never more than the time between two readings"


def judged(**fields: float | bool) -> Once:
    return Once(0, **fields)  # type: ignore[arg-type]


def test_a_bound_that_was_missed_because_the_machine_was_busy_is_named() -> None:
    row = Row("P3")
    row.repeated = [judged(detected=0.19, bound=0.2), judged(detected=0.26, bound=0.2, held_up=0.07)]
    assert "| yes; 1 of 2 only without the wait for a processor (up to 0.07 s) |" in line(row)
    row.repeated.append(judged(detected=0.26, bound=0.2, held_up=0.05))
    assert "| no (1 of 3 missed) |" in line(row)
    row.repeated = [judged(detected=9.0, bound=0.2, within=True), judged()]
    assert "| yes |" in line(row)


def test_a_failing_drill_shows_the_ends_of_its_last_logs(tmp_path: Path) -> None:
    for number in range(LOGS + 1):
        (tmp_path / f"{number}").mkdir()
        log = tmp_path / f"{number}" / "service.log"
        log.write_text("".join(f"{number}.{i}\n" for i in range(LOG_LINES + 1)))
        os.utime(log, (number, number))
    shown = ends_of_logs(tmp_path)
    assert [name.split("/")[0] for name, _ in shown] == ["1", "2", "3"]
    assert shown[-1][1].splitlines() == [f"3.{i}" for i in range(1, LOG_LINES + 1)]
