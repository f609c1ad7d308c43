"""Trials as a Markdown page; every figure on it is computed here from what was seen."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable
from itertools import groupby, pairwise
from pathlib import Path

from observe import CLIENT_TIMEOUT_SECONDS, POLL_SECONDS, REQUEST_PAUSE_SECONDS, REQUESTS_AT_ONCE, Poll, Request
from trial import Trial

CALM_SECONDS = 5.0  # right again means: nothing went wrong in at least these last seconds
MOST_STRETCHES = 5
TITLES = {
    "kill": "A worker is killed at work (`kill -9`)",
    "kill-idle": "A worker is killed while idle (`kill -9`)",
    "stop": "A worker is frozen at work (`kill -STOP`)",
    "stop-idle": "A worker is frozen while idle (`kill -STOP`)",
    "stop-all": "Every worker is frozen (`kill -STOP`)",
    "loop": "Endless loop in the handler (`while True: pass`)",
    "corrupt": "Wrong answers (weights altered in the memory of one worker)",
}
COLUMNS = (
    "service",
    "health said",
    "right",
    "wrong, given as right",
    "failed",
    "of these two under green",
    "slowest right answer",
    "right again after",
    "worker replaced after",
    "workers at the end",
)


def page(trials: list[Trial], versions: dict[str, str], settings: dict[str, str]) -> str:
    """The whole page."""
    lines = [
        "# Health of others",
        "",
        "The same faults against frameworks that could serve this model, and against CCMusic.",
        "Each runs the same embedded model through `ccmusic.inference.pipeline.Pipeline` in two workers. Written by",
        "`python bench/health_rivals/run.py --write docs/health-rivals.md`; one run a row, every figure measured.",
        "",
        f"Machine: {_machine()}.",
        "",
        "| service | version | health endpoints polled | settings other than its defaults |",
        "|---|---|---|---|",
    ]
    for name in dict.fromkeys(trial.service for trial in trials):
        polled = ", ".join(f"`{path}`" for path in next(t for t in trials if t.service == name).polls)
        lines.append(f"| {name} | {versions[name]} | {polled} | {settings[name]} |")
    for fault, title in TITLES.items():
        rows = [trial for trial in trials if trial.fault == fault]
        if rows:
            lines += ["", f"## {title}", "", _line(COLUMNS), "|---" * len(COLUMNS) + "|", *map(_row, rows), ""]
            lines += [f"Proof of the fault: {'; '.join(f'{row.service}: {row.proof}' for row in rows)}."]
    lines += ["", "## How to read it", "", *_notes(max(trial.observed for trial in trials))]
    return "\n".join(lines) + "\n"


def _row(trial: Trial) -> str:
    hurt = [r for r in trial.requests if r.outcome != "right"]
    right = [r for r in trial.requests if r.outcome == "right"]
    wrong = [r for r in hurt if r.outcome == "wrong"]
    failures = Counter(r.outcome for r in hurt if r.outcome != "wrong")
    failed = ", ".join(f"{n} x {_status(outcome)}" for outcome, n in failures.most_common()) or "0"
    said = "; ".join(f"`{path}` {_said(polls, trial.observed)}" for path, polls in trial.polls.items())
    slowest = f"{max(r.ended - r.sent for r in right):.1f} s" if right else "-"
    again = _again(trial.requests, trial.observed)
    replaced = f"{trial.replaced:.1f} s" if trial.replaced is not None else "never within the observation"
    under_green = sum(_under_green(r, trial.polls) for r in hurt)
    counts = (len(right), len(wrong), failed, under_green)
    return _line((trial.service, said, *counts, slowest, again, replaced, trial.workers_at_end))


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _status(outcome: str) -> str:
    return f"HTTP {outcome}" if outcome.isdigit() else outcome


def _said(polls: list[Poll], observed: float) -> str:
    """A health endpoint's words in time."""
    stretches = [(said, next(group)[0]) for said, group in groupby(polls, key=lambda poll: poll[1])]
    if len(stretches) == 1:
        return f"{stretches[0][0]} throughout"
    if len(stretches) <= MOST_STRETCHES:
        words = [f"{said} to {until:.1f} s" for (said, _), (_, until) in pairwise(stretches)]
        return ", ".join([*words, f"then {stretches[-1][0]}"])
    ends = [*(asked for asked, _ in polls[1:]), observed]
    not_green = sum(end - asked for (asked, said), end in zip(polls, ends, strict=True) if said != "200")
    first = next(asked for asked, said in polls if said != "200")
    return f"not 200 for {not_green:.1f} s in all, first at {first:.1f} s, in {len(stretches)} stretches"


def _under_green(request: Request, polls: dict[str, list[Poll]]) -> bool:
    """Whether every endpoint said 200 for as long as this request was under way."""
    return all(
        said == "200"
        for seen in polls.values()
        for asked, said in seen
        if request.sent - POLL_SECONDS <= asked <= request.ended + POLL_SECONDS
    )


def _again(requests: list[Request], observed: float) -> str:
    """When the first request sent after the last hurt one was answered rightly."""
    hurt = [r.sent for r in requests if r.outcome != "right"]
    if not hurt:
        return "no request was hurt"
    later = [r.ended for r in requests if r.outcome == "right" and r.sent > max(hurt)]
    if not later or max(hurt) > observed - CALM_SECONDS:
        return "never within the observation"
    return f"{max(0.0, min(later)):.1f} s"


def _machine() -> str:
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}"


def _notes(observed: float) -> list[str]:
    return [
        f"* Observed for {observed:.0f} s after the fault. A process of its own polls each health endpoint every "
        f"{1000 * POLL_SECONDS:.0f} ms on a new connection; times count from the injection.",
        f"* Meanwhile {REQUESTS_AT_ONCE} requests with a real recording are sent every {REQUEST_PAUSE_SECONDS} s, "
        "whether or not earlier ones were answered; *at work* is just after two were sent. The client gives up "
        f"after {CLIENT_TIMEOUT_SECONDS:.0f} s. One worker could carry this load.",
        "* *Wrong, given as right*: status 200 with other probabilities than the answer before the fault.",
        "* *Under green*: every health endpoint said 200 for as long as the request was under way.",
        "* *Right again*: the first right answer to a request sent after the last hurt one; *never* when one was hurt "
        f"in the last {CALM_SECONDS:.0f} s. No such figure says that a worker came back: *replaced* does, which means "
        "two workers at work, one of them new.",
        "* The request that carries the endless loop is not counted. In the last section a worker *at work* may be the "
        "one with the wrong weights.",
    ]
