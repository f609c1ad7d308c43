"""What a campaign has found: the smallest change that causes each finding, and the tables."""

from __future__ import annotations

import json
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fuzz.campaign import BOUND, STOPPED, Count, minimised, verdict
from fuzz.execute import prepare
from fuzz.mutant import make, plan

PER_KIND = 3
"""Findings of the same changes that are made smaller; the others are only counted."""


class Found(NamedTuple):
    """A finding and the changes that it needs."""

    container: str
    number: int
    why: str
    answer: str
    processor_seconds: float
    megabytes: float
    size: int
    needs: tuple[str, ...]


def kind(done: list[str]) -> str:
    """Changes without their numbers."""
    return " + ".join(re.sub(r" (x|at )\d+|\d+ x \d+", "", text) for text in done)


def read_findings(folder: Path) -> list[dict]:
    path = folder / "findings.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def minimise(folder: Path, seconds: float) -> None:
    """Find the changes that findings need, in so much processor time, and keep them and the bytes of the recordings."""
    deadline = _processor_seconds() + seconds
    kept = folder / "minimised.jsonl"
    known = list(read_minimised(folder))
    done = {(found.container, found.number) for found in known}
    seen: dict[str, int] = {}
    prepare()
    for row in sorted(read_findings(folder), key=lambda row: len(row["done"])):
        about = f"{row['container']} {row['why']} {kind(row['done'])}"
        seen[about] = seen.get(about, 0) + 1
        if seen[about] > PER_KIND or (row["container"], row["number"]) in done:
            continue
        if _processor_seconds() > deadline:
            return
        made, outcome = minimised(plan(row["container"], row["number"]))
        if verdict(outcome) != row["why"]:  # it needs what was decoded before it
            continue
        least = make(made)
        row |= {"needs": least.done, **outcome._asdict()}
        with kept.open("a") as out:
            out.write(json.dumps(row) + "\n")
        if len(least.content) <= 2**16:
            (folder / f"{row['container']}-{row['number']}.bin").write_bytes(least.content)


def _processor_seconds() -> float:
    """Of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def read_minimised(folder: Path) -> Iterator[Found]:
    path = folder / "minimised.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        row = json.loads(line)
        names = ("container", "number", "why", "answer", "processor_seconds", "megabytes", "size")
        yield Found(*(row[name] for name in names), tuple(row["needs"]))


def counts_table(counts: dict[str, Count]) -> list[str]:
    """A line for each container."""
    lines = [
        "| container | recordings | decoded | refused | ended by the bound on processor time | stopped by this test "
        "| worker deaths | untyped errors | longest (processor time) | highest memory | findings |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, count in counts.items():
        bound, stopped = count.answers[BOUND], count.answers[STOPPED]
        untyped = sum(n for answer, n in count.answers.items() if answer.startswith("untyped"))
        refused = count.executions - count.answers["decoded"] - bound - stopped - untyped - count.deaths
        cells = (name, count.executions, count.answers["decoded"], refused, bound, stopped, count.deaths, untyped)
        costs = (
            f"{count.longest[0]:.2f} s (no. {count.longest[1]}) | {count.highest[0]:.0f} MB (no. {count.highest[1]})"
        )
        cells_text = " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells)
        lines.append(f"| {cells_text} | {costs} | {sum(count.findings.values())} |")
    return lines


def findings_list(folder: Path) -> list[str]:
    """A line for each kind of finding."""
    groups: dict[tuple[str, str, str], list[Found]] = {}
    for each in read_minimised(folder):
        groups.setdefault((each.container, each.why, kind(list(each.needs))), []).append(each)
    return [
        f"* {container}, {why}: {what}; {len(found)} kept, for example no. {found[0].number}: {found[0].answer}, "
        f"{found[0].processor_seconds:.2f} s, {found[0].megabytes:.0f} MB, {found[0].size:,} bytes"
        for (container, why, what), found in sorted(groups.items())
    ]
