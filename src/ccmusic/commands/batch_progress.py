"""How ``ccmusic batch run`` shows its progress: a bar on a terminal, or JSON for another program."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

WALK_SECONDS = 1.0
"""Time between two reports of a walk."""


class Report(Protocol):
    """What a run says while it runs."""

    def walk(self, count: int) -> None:
        """So many files are found."""

    def progress(self, state: dict[str, Any]) -> None:
        """The state of `ccmusic.batch.progress.Progress`."""

    def end(self, state: dict[str, Any]) -> None:
        """The run has finished; these are its counts."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def report_for(out: TextIO, *, as_json: bool, quiet: bool) -> Report:
    """The report to standard output, or the bar to standard error."""
    return JsonReport(out) if as_json else BarReport(out, quiet=quiet)


def sum_line(counts: Mapping[str, int]) -> str:
    """The last line of a run, which reconciles."""
    names = ["ok", "failed", "skipped", "stale"] + (["waiting"] if counts["waiting"] else [])
    found = sum(counts[name] for name in names)
    return f"found {found} = " + " + ".join(f"{counts[name]} {name}" for name in names)


class BarReport:
    """A bar on a terminal; nothing elsewhere. The last line is for both."""

    def __init__(self, out: TextIO, *, quiet: bool) -> None:
        self._out = out
        self._quiet = quiet
        self._bar: Any = None
        self._done = 0

    def _begin(self, total: int | None, unit: str, done: int) -> None:
        from tqdm import tqdm

        # initial: what earlier runs did is no part of the rate; disable=None: shown on a terminal only
        self._bar = tqdm(
            total=total, unit=unit, initial=done, disable=True if self._quiet else None, leave=False, dynamic_ncols=True
        )
        self._done = done

    def walk(self, count: int) -> None:
        if self._bar is None:
            self._begin(None, "file", 0)
        self._bar.update(count - self._done)
        self._done = count

    def progress(self, state: dict[str, Any]) -> None:
        done = state["found"] - state["waiting"]
        if self._bar is not None and self._bar.total is None:
            self.close()
        if self._bar is None:
            self._begin(state["found"], "track", done)
        self._bar.set_postfix(failed=state["failed"], refresh=False)
        self._bar.update(done - self._done)
        self._bar.refresh()  # also while a long recording is the only one in work
        self._done = done

    def end(self, state: dict[str, Any]) -> None:
        self.close()
        if state["stale"]:
            print(
                f"{state['stale']} answers are of another model, version or setting; --redo-stale makes them again",
                file=self._out,
                flush=True,
            )
        print(sum_line(state), file=self._out, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class JsonReport:
    """One JSON object per line: ``event`` is ``walk``, ``progress`` or ``end``."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._walked: float | None = None

    def walk(self, count: int) -> None:
        now = time.monotonic()
        if self._walked is None or now - self._walked >= WALK_SECONDS:
            self._walked = now
            self._print("walk", {"found": count})

    def progress(self, state: dict[str, Any]) -> None:
        self._print("progress", state)

    def end(self, state: dict[str, Any]) -> None:
        self._print("end", state)

    def close(self) -> None:
        """Do nothing."""

    def _print(self, event: str, state: dict[str, Any]) -> None:
        print(json.dumps({"event": event, **state}), file=self._out, flush=True)
