"""Do the changes find the known classes of costly files? Decodes by code that has no bounds, and by code that has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fuzz.campaign import run_alone, verdict
from fuzz.execute import Outcome
from fuzz.mutant import GROWTH_EVERY, change, plan

KNOWN = {
    "mp4": {
        "a table counts more samples than there are": "claim (?!.*bytes)",
        "packets of almost nothing": "claim .* with their bytes",
        "edits play a track again and again": "table elst",
        "fragments": "repeat (moof|traf|trun|tfdt) ",
        "tags": "repeat (----|mean|name) .*text",
        "a picture": "picture",
    },
    "matroska": {
        "tags": "repeat (67c8|7373|1254c367|45a3) .*text",
        "chapters": "repeat (b6|45b9|1043a770) .*numbered",
        "an attachment or another element of tens of MB": r"lengthen \w+ by [4-9]\d{7}",
        "a picture": "picture",
    },
    "ogg": {
        "comments": "repeat comment .*text",
        "hours of silence": "repeat (packet|page) ",
    },
    "riff": {
        "chunks": "repeat (JUNK|fact|cue|PEAK|id3) ",
        "lists": "repeat (LIST|INAM) ",
        "codecs of no music": "codec",
    },
    "flac": {
        "hours of silence": "repeat frame",
        "a picture": "picture",
    },
    "id3": {
        "texts": "repeat TXXX .*text",
        "a picture": "picture",
    },
}
"""Classes of files that were small on disk and large in memory or time: by container, what the one change that makes
them is called. Not among them is what cost the earlier code little too: boxes in boxes, elements in elements, tracks
(up to 210 MB, from 14 MB)."""
FILE = "known.json"


class Known(NamedTuple):
    """A known class, and whether code without bounds showed it.

    Attributes
    ----------
    container, title : str
    decoded : list of int
        Numbers of the recordings of this class that were decoded, to the first that is a finding.
    done : str
        The change in the last of them.
    why : str
        The verdict about the last; empty if no finding.
    outcome : Outcome
        Of the last.
    """

    container: str
    title: str
    decoded: list[int]
    done: str
    why: str
    outcome: Outcome


def candidates(container: str, pattern: str, most: int) -> Iterator[tuple[int, str]]:
    """Of the first recordings, those in which nothing but one growth of this class was done, and what it was."""
    for number in range(0, most, GROWTH_EVERY):
        done = _only_growth(container, number)
        if re.match(pattern, done):
            yield number, done


@cache
def _only_growth(container: str, number: int) -> str:
    made = plan(container, number)
    return "" if made.changes else change(made)[1][0]


def search(most: int, names: list[str], folder: Path) -> Iterator[Known]:
    """Look for each class among the first recordings of these containers, and keep the results."""
    kept = [each for each in read(folder) if each.container not in names]
    for container in (name for name in KNOWN if name in names):
        for title, pattern in KNOWN[container].items():
            found = Known(container, title, [], "", "", Outcome("none", 0.0, 0.0))
            for number, done in candidates(container, pattern, most):
                outcome = run_alone(plan(container, number))
                found = Known(container, title, [*found.decoded, number], done, verdict(outcome), outcome)
                if found.why:
                    break
            kept.append(found)
            (folder / FILE).write_text(json.dumps([[*each[:-1], list(each.outcome)] for each in kept], indent=1))
            yield found


def read(folder: Path) -> list[Known]:
    """What an earlier search has found."""
    path = folder / FILE
    rows = json.loads(path.read_text()) if path.exists() else []
    return [Known(*row[:-1], Outcome(*row[-1])) for row in rows]


def known_table(folder: Path) -> list[str]:
    """A line for each class: when the code of the search found it, and what the same recordings cost now."""
    lines = [
        "| container | known class | recordings until found | change | bytes | before | now | findings now |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in read(folder):
        now = [run_alone(plan(each.container, number)) for number in each.decoded]
        cells = (
            each.container,
            each.title,
            f"{each.decoded[-1] + 1:,}" if each.why else "not found",
            each.done,
            f"{each.outcome.size:,}",
            _cost(each.outcome),
            _cost(now[-1]) if now else "",
            f"{sum(bool(verdict(outcome)) for outcome in now)} of {len(now)}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cost(outcome: Outcome) -> str:
    codec = f" ({outcome.codec})" if outcome.codec else ""
    return f"{outcome.answer}{codec}, {outcome.processor_seconds:.1f} s, {outcome.megabytes:.0f} MB"
