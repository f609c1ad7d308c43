"""What `test_kubelet` measured, as a table and as docs/kubelet.md."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HEAD = """# The probes, measured

Written by `CCMUSIC_TEST_PRODUCTION_TIMES=1 pytest tests/deploy/test_kubelet.py -m deploy`, which plays the kubelet by
its rules (`tests/deploy/kubelet.py`) with the probes of [deploy/kubernetes](../deploy/kubernetes) against the real
service, without a cluster. What the probes mean: [Kubernetes](kubernetes.md).

Measured on {date} at commit {commit}: {cores} cores, {system}, Python {python}; one worker a pod,
no page; all pods and their clients share the machine.

* **ours**: the three probes of `base/deployment.yaml`, on the management port.
* **the single probe**: `single-probe/deployment.yaml`, `/health` on port 7860 and a restart when it is red.
* **computed**: the longest time that follows from the manifest, without what a busy machine adds.

"""


@dataclass(frozen=True)
class Row:
    """One thing that was measured."""

    case: str
    probes: str
    what: str
    computed: float | None
    seconds: list[float]
    remark: str


class Report:
    """Keeps rows.

    Parameters
    ----------
    factor : float
        How long a second of the manifest took; 1 in production's time.
    """

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._rows: list[Row] = []

    def add(
        self, case: str, probes: str, what: str, computed: float | None, seconds: list[float], remark: str = ""
    ) -> None:
        """Keep one row; without any measurement it is left out."""
        if seconds:
            self._rows.append(Row(case, probes, what, computed, seconds, remark))

    def complete(self, session: Any) -> bool:
        """Whether every test of this module ran and passed: only then the page is written."""
        return session.testsfailed == 0 and len({row.case for row in self._rows}) == 9

    def table(self) -> list[str]:
        """Markdown."""
        lines = [] if self._factor == 1 else [f"Time ran {1 / self._factor:g} times as fast.", ""]
        lines += ["| case | probes | what | computed, at most | measured | remarks |", "|---|---|---|---|---|---|"]
        for row in self._rows:
            computed = "" if row.computed is None else f"{row.computed:.1f} s"
            measured = ", ".join(f"{seconds:.1f}" for seconds in row.seconds) + " s"
            lines.append(f"| {row.case} | {row.probes} | {row.what} | {computed} | {measured} | {row.remark} |")
        return lines

    def page(self) -> str:
        """The whole page."""
        head = HEAD.format(
            date=datetime.now(UTC).date().isoformat(),
            commit=_commit(),
            cores=os.cpu_count(),
            system=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
        )
        return head + "\n".join(self.table()) + "\n"


def _commit() -> str:
    words = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
