"""What a campaign has found: the smallest change that causes each finding, the known classes among them, the tables."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fuzz.campaign import BOUND, STOPPED, Count, minimised, verdict
from fuzz.execute import prepare
from fuzz.mutant import make, plan

KNOWN = {
    "mp4": {
        "a table counts more samples than there are": r"(set|table|flip|cut) (stsz|stts|stsc|ctts|stz2|stco|trun|trex)",
        "edits play a track again and again": r"(table|repeat|set) (elst|edts)",
        "fragments": r"repeat (moof|traf|trun|tfdt|mfhd)",
        "tags": r"repeat (----|mean|name|data|ilst|udta|meta)",
        "tracks": r"repeat (trak|mdia|minf|stbl|stsd|tkhd)",
        "a picture": "picture",
        "boxes in boxes": "nest",
    },
    "matroska": {
        "tags": "repeat (67c8|7373|1254c367|45a3|4487)",
        "chapters": "repeat (b6|45b9|1043a770|73c4)",
        "attachments": "repeat (61a7|1941a469)",
        "tracks": "repeat (ae|1654ae6b)",
        "a picture, or a codec of pictures": "picture|(set|retype|flip|replace|insert) .*(86|63a2|83|e0)",
        "elements in elements": "nest",
    },
    "ogg": {
        "comments": "repeat comment|table",
        "pages, packets": "repeat (packet|page)",
    },
    "riff": {
        "chunks": "(repeat|nest) .*(JUNK|LIST|fact|INAM|id3|cue|PEAK|fmt|data)",
        "an exotic codec": "set fmt",
    },
    "aiff": {"chunks": "(repeat|nest)"},
    "flac": {
        "comments, blocks": "repeat (comment|0[0-9])",
        "a picture": "picture",
    },
    "id3": {
        "texts": "repeat (TXXX|TIT2|COMM|PRIV|CHAP|ID3)",
        "a picture": "picture|repeat APIC",
    },
}
"""Classes of files, known before, that are small on disk and large in memory or time: by container, what in the one
change that is needed shows the class. Hours of silence in few bytes are not among them: their cost is in proportion."""
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
    """Find the changes that findings need, for up to this time, and keep them and the bytes of the recordings."""
    deadline = time.monotonic() + seconds
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
        if time.monotonic() > deadline:
            return
        made, outcome = minimised(plan(row["container"], row["number"]))
        if verdict(outcome) != row["why"]:  # it needs what was decoded before it
            continue
        least = make(made)
        row |= {"needs": least.done, "bytes": len(least.content), **outcome._asdict()}
        with kept.open("a") as out:
            out.write(json.dumps(row) + "\n")
        if len(least.content) <= 2**16:
            (folder / f"{row['container']}-{row['number']}.bin").write_bytes(least.content)


def read_minimised(folder: Path) -> Iterator[Found]:
    path = folder / "minimised.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        row = json.loads(line)
        names = ("container", "number", "why", "answer", "processor_seconds", "megabytes")
        yield Found(*(row[name] for name in names), row["bytes"], tuple(row["needs"]))


def counts_table(counts: dict[str, Count]) -> list[str]:
    """A line for each container."""
    lines = [
        "| container | recordings | decoded | refused | ended by the bound on processor time | stopped by this test "
        "after 4 s | worker deaths | untyped errors | longest (processor time) | highest memory | findings |",
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


def known_table(folder: Path, counts: dict[str, Count]) -> list[str]:
    """Which known classes a campaign has found, each by recordings of which one change is the whole cause."""
    lines = [
        "| container | known class | found | first found by recording | costs |",
        "|---|---|---|---|---|",
    ]
    found = [each for each in read_minimised(folder) if len(each.needs) == 1]
    for name, classes in KNOWN.items():
        for title, pattern in classes.items():
            hits = [each for each in found if each.container == name and re.match(pattern, each.needs[0])]
            if not hits:
                lines.append(f"| {name} | {title} | not in {counts[name].executions:,} | | |")
                continue
            first = min(hits, key=lambda each: each.number)
            worst = max(hits, key=lambda each: (each.processor_seconds, each.megabytes))
            costs = f"{worst.processor_seconds:.1f} s, {worst.megabytes:.0f} MB, in {worst.size:,} bytes"
            lines.append(f"| {name} | {title} | {len(hits)} | {first.number:,}: {first.needs[0]} | {costs} |")
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
