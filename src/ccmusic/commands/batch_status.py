"""``ccmusic batch status``: what is known about a library, and how far its run is."""

from __future__ import annotations

import argparse
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from ccmusic.commands.batch_progress import sum_line
from ccmusic.commands.exit_codes import ExitCode


def add_action(actions: Any, name: str) -> None:
    """Add the action to ``ccmusic batch``."""
    parser = actions.add_parser(
        name,
        help="count the tracks of a catalogue by status and error, and say how far its run is",
        description="Reads the catalogue, also while a run writes it, and also in a folder that cannot be written to.",
        epilog="Example: ccmusic batch status ~/labels",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the catalogue")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ccmusic.batch.catalogue import catalogue_errors
    from ccmusic.batch.status import status_of

    with catalogue_errors(options.folder):
        status = status_of(options.folder)
    print(json.dumps(status) if options.json else "\n".join(_lines(status)))
    return ExitCode.OK


def _lines(status: dict[str, Any]) -> list[str]:
    lines = [sum_line(status["counts"])]
    lines += [f"  failed: {count} {kind}" for kind, count in status["errors"].items()]
    if (run := status["run"]) is None:
        return lines
    if status["running"]:
        state = f"a run is working since {run['started_at']}"
    elif run["ended_how"] is None:
        state = f"the run of {run['started_at']} was killed; give its command again: {run['command']}"
    else:
        state = f"the run of {run['started_at']} was {run['ended_how']} at {run['ended_at']}"
    lines.append(f"{state}; {run['analysed']} analysed")
    if run["mean_tracks_per_second"] is not None:
        left = run["mean_seconds_left"]
        more = "" if left is None else f", {timedelta(seconds=left)} left"
        lines.append(f"{run['mean_tracks_per_second']:.2f} tracks per second on average{more}")
    return lines
