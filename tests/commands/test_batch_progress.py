from __future__ import annotations

import io
import json

import pytest

from ccmusic.commands import batch_progress
from ccmusic.commands.batch_progress import report_for, sum_line

STATE = {"found": 8, "waiting": 4, "ok": 2, "failed": 1, "skipped": 1, "stale": 0, "tracks_per_second": 2.0}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_last_line_reconciles() -> None:
    counts = {"ok": 1990, "failed": 4, "skipped": 5, "stale": 1, "waiting": 0}
    assert sum_line(counts) == "found 2000 = 1990 ok + 4 failed + 5 skipped + 1 stale"
    assert sum_line(counts | {"waiting": 7}) == "found 2007 = 1990 ok + 4 failed + 5 skipped + 1 stale + 7 waiting"


def shown(monkeypatch: pytest.MonkeyPatch, error: io.StringIO, *, quiet: bool = False) -> str:
    monkeypatch.setattr("sys.stderr", error)
    out = io.StringIO()
    report = report_for(out, as_json=False, quiet=quiet)
    report.walk(5)
    report.progress(STATE)
    report.progress(STATE | {"waiting": 1, "ok": 5})
    report.close()
    assert out.getvalue() == ""
    return error.getvalue()


def test_a_terminal_has_a_bar_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = shown(monkeypatch, Terminal())
    assert "4/8 [00:00<?, ?track/s" in bar
    assert "failed=1" in bar


def test_without_a_terminal_or_with_quiet_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO()) == ""
    assert shown(monkeypatch, Terminal(), quiet=True) == ""


def test_json_of_a_walk_is_printed_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 0.5, 1.0, 1.9])
    monkeypatch.setattr(batch_progress.time, "monotonic", lambda: next(times))
    out = io.StringIO()
    report = report_for(out, as_json=True, quiet=False)
    for count in range(1, 5):
        report.walk(count)
    assert list(map(json.loads, out.getvalue().splitlines())) == [
        {"event": "walk", "found": 1},
        {"event": "walk", "found": 3},
    ]


@pytest.mark.parametrize("as_json", [False, True])
def test_the_last_line_reconciles_also_when_answers_are_stale(as_json: bool) -> None:
    out = io.StringIO()
    state = STATE | {"waiting": 0, "stale": 4}
    report_for(out, as_json=as_json, quiet=True).end(state)
    *others, last = out.getvalue().splitlines()
    if as_json:
        assert json.loads(last) == {"event": "end", **state}
        assert others == []
    else:
        assert last == "found 8 = 2 ok + 1 failed + 1 skipped + 4 stale"
        assert len(others) == 1
        assert others[0].startswith("4 answers are of another model")
