"""What is known about a library and its newest run, from the catalogue."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from ccmusic.batch.catalogue import Catalogue
from ccmusic.batch.run_lock import is_running


def status_of(folder: Path) -> dict[str, Any]:
    """The state of a folder of results, ready for `json.dumps`.

    Returns
    -------
    dict
        ``counts`` by status; ``errors``: the number of failed tracks by type; ``running``; ``run``: the newest run with
        ``mean_tracks_per_second`` since its start and, while it runs, ``mean_seconds_left``: the time left at that
        rate; None where nothing is known.

    Raises
    ------
    CatalogueError
    """
    with Catalogue.open(folder, read_only=True) as catalogue:
        running = is_running(folder)
        counts = catalogue.counts()
        errors = catalogue.connection.execute(
            "SELECT error_type, count(*) FROM tracks WHERE status = 'failed' GROUP BY error_type ORDER BY count(*) DESC"
        )
        return {
            "counts": counts,
            "errors": dict(errors.fetchall()),
            "running": running,
            "run": _run(catalogue, counts["waiting"] if running else None),
        }


def _run(catalogue: Catalogue, waiting: int | None) -> dict[str, Any] | None:
    columns = ("started_at", "updated_at", "ended_at", "ended_how", "found", "analysed", "command")
    row = catalogue.connection.execute(f"SELECT {', '.join(columns)} FROM runs ORDER BY id DESC LIMIT 1").fetchone()  # noqa: S608
    if row is None:
        return None
    run = dict(zip(columns, row, strict=True))
    seconds = (datetime.fromisoformat(run["updated_at"]) - datetime.fromisoformat(run["started_at"])).total_seconds()
    rate = run["analysed"] / seconds if run["analysed"] and seconds else None
    left = waiting / rate if rate and waiting is not None else None
    return run | {
        "mean_tracks_per_second": None if rate is None else round(rate, 3),
        "mean_seconds_left": None if left is None else round(left),
    }
