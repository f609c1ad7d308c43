"""The fault matrix: the measurements of the drills as a page."""

from __future__ import annotations

import datetime
import math
import os
import platform
import re
import subprocess
from collections import Counter
from pathlib import Path

from faults.catalogue import CATALOGUE
from faults.drill import Row

HEAD = """# Fault matrix

Every row is a real fault, injected into a running service (`tests/faults`, `make faults`). Something other than the
service's own reports proves that it was injected. That run writes this page, and marks each bound that was missed.

{machine}

* **detected**: seconds from the fault until a probe shows it with its cause *and* `/metrics` shows it. A watcher reads
  both again 20 ms after each answer.
* **met**: whether each time was within the bound. Load and tests run on the same machine, so the time in which the
  front process, the victim or the test waited for a processor is measured too (`/proc/PID/task/*/schedstat`). A time
  that is within the bound only without this wait is named.
* **recovered**: seconds until every probe is green, every worker is up, and a test recording has the right answer. If
  the fault lasts until it is removed, the time is counted from there.
* **p99**: with fewer than 100 repeats, the longest time.
* **wrong answers**: answers with status 200 whose probabilities differ by more than 0.001 from the answer of the same
  service before the fault.
* **errors seen by others**: requests of two background clients, which did not cause the fault, with another status than
  200.
* **restarts**: worker processes replaced, per repeat.
* **false reds**: times in which a probe was not 200 although the fault does not concern it, or before the fault, or
  after the recovery. A watcher reads the three probes about 20 times a second, from before the fault until after the
  recovery. Empty: the service starts with the fault.
* **false restarts**: worker processes replaced for a reason that the fault does not explain, or more of them.

"""
COLUMNS = (
    "id",
    "fault",
    "repeats",
    "detected p50 / p99",
    "bound",
    "met",
    "recovered p50 / p99",
    "wrong answers",
    "errors seen by others",
    "restarts",
    "false reds",
    "false restarts",
    "remarks",
)


def rank(values: list[float], share: float) -> float:
    """The nearest-rank percentile."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(values: list[float]) -> str:
    """Median, and the extremes if there are several values."""
    middle, low, high = (f"{value:.3g}" for value in (rank(values, 0.5), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def _seconds(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{rank(known, 0.5):.2f} / {rank(known, 0.99):.2f} s" if known else ""


def _met(row: Row) -> str:
    verdicts = Counter(verdict for once in row.repeated if (verdict := once.verdict) is not None)
    if not verdicts:
        return ""
    if verdicts["no"]:
        return f"no ({verdicts['no']} of {verdicts.total()} missed)"
    if not verdicts["busy"]:
        return "yes"
    longest = max(once.held_up for once in row.repeated if once.verdict == "busy")
    of = f"{verdicts['busy']} of {verdicts.total()}"
    return f"yes; {of} only without the wait for a processor (up to {longest:.2f} s)"


def line(row: Row) -> str:
    """One row as Markdown."""
    done = row.repeated
    errors = sum((once.errors for once in done), Counter())
    requests = sum(once.requests for once in done)
    kinds = ", ".join(f"{count} x {kind}" for kind, count in errors.most_common())
    restarts = sorted({once.restarts for once in done})
    where = f"in repeat {len(done) + 1}" if len(done) < row.n_repeats else "after the repeats"
    reds = [once.false_reds for once in done if once.false_reds is not None]
    unexplained = [once.false_restarts for once in done if once.false_restarts is not None]
    remarks = [f"**FAILED** {where}: {row.failure}"] if row.failure else []
    remarks += [f"{name} {spread(values)}" for name, values in row.figures.items()] + row.remarks
    cells = [
        row.name,
        row.entry.fault,
        str(len(done)),
        _seconds([once.detected for once in done]),
        row.entry.bound_text,
        "no" if row.failure else _met(row),
        _seconds([once.recovered for once in done]),
        str(sum(once.wrong for once in done)),
        f"{errors.total()} of {requests}" + (f" ({kinds})" if kinds else "") if requests else "",
        " to ".join(str(count) for count in dict.fromkeys([restarts[0], restarts[-1]])) if restarts else "",
        str(sum(map(len, reds))) if reds else "",
        str(sum(restarts.total() for restarts in unexplained)) if unexplained else "",
        "; ".join(remarks),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def false_alarms(rows: list[Row]) -> list[str]:
    """A line for each false red and each false restart."""
    return [
        f"{row.name}, repeat {once.number + 1}: {text}"
        for row in rows
        for once in row.repeated
        for text in [
            *(
                f"/{red.probe} was red for {red.ended - red.began:.2f} s, "
                f"{red.began - once.injected_at:.2f} s after the injection: {red.cause}"
                for red in once.false_reds or ()
            ),
            *(f"{count} x restart, {reason}" for reason, count in (once.false_restarts or {}).items()),
        ]
    ]


def machine() -> str:
    """Machine, date and commit of the measurement."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    today = datetime.datetime.now(datetime.UTC).date()
    cores = f"{os.cpu_count()} cores ({model[1] if model else 'model unknown'})"
    return (
        f"Measured on {today} at commit {described or 'unknown'}: {cores}, Linux {platform.release()}, "
        f"Python {platform.python_version()}; load and service run on the same machine."
    )


def write(path: Path, rows: list[Row]) -> None:
    """Write the page."""
    order = list(CATALOGUE)
    lines = [" | ".join(("", *COLUMNS, "")).strip(), "|---" * len(COLUMNS) + "|"]
    lines += [line(row) for row in sorted(rows, key=lambda row: order.index(row.name))]
    path.write_text(HEAD.format(machine=machine()) + "\n".join(lines) + "\n", encoding="utf-8")
