"""Rows of a catalogue, with answers as the pipeline gives them, and catalogues made of such rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from ccmusic.batch.catalogue import Catalogue
from ccmusic.batch.track_row import COLUMNS, TrackRow, valid_text
from ccmusic.genres import CCMUSIC, Taxonomy
from ccmusic.inference.result import ModelIdentity, TrackResult

MODEL = ModelIdentity("made-up", "1", "0" * 64)


def answer(
    genre: str,
    probability: float,
    taxonomy: Taxonomy = CCMUSIC,
    *,
    sure_level: int | None = 0,
    duration_seconds: float = 30.0,
    flags: tuple[str, ...] = (),
    odd: str | None = None,
) -> dict[str, Any]:
    """The whole answer for a recording whose likeliest genre is `genre`, as a catalogue has it: without windows."""
    first = taxonomy.labels.index(genre)
    n_labels = len(taxonomy.labels)
    second = 0.9 * min(probability, 1 - probability)  # of the next label
    leaves = np.full(n_labels, (1 - probability - second) / max(n_labels - 2, 1))
    leaves[(first + 1) % n_labels] = second
    leaves[first] = probability
    probabilities = {level: taxonomy.roll_up(leaves, level) for level in taxonomy.sizes}
    result = TrackResult(
        MODEL, duration_seconds, probabilities, (), flags, taxonomy=taxonomy, sure_level=sure_level, odd=odd
    )
    found = result.as_json(top_k=n_labels)
    del found["windows"]
    return found


def answered(number: int, path: str | bytes, found: dict[str, Any], **changes: Any) -> TrackRow:
    """A track with an answer of `answer`."""
    path = os.fsencode(path)
    sure_level = found.get("sure_level", 0) or 0
    columns: dict[str, Any] = {
        "status": "ok",
        "answer": json.dumps(found, ensure_ascii=False),
        "genre": found["predictions"][0]["genre"],
        "probability": found["predictions"][0]["probability"],
        "sure_level": sure_level if "sure_level" in found else None,
        "sure_genre": found["levels"][str(sure_level)][0]["genre"] if sure_level else None,
        "odd": found["odd"],
        "flags": json.dumps(found["flags"]),
        "duration_seconds": found["duration_seconds"],
    }
    return TrackRow(number, path, valid_text(path), **columns | changes)


def failed(number: int, path: str | bytes, error_type: str, error_detail: str, status: str = "failed") -> TrackRow:
    """A track without an answer."""
    path = os.fsencode(path)
    return TrackRow(number, path, valid_text(path), status, error_type=error_type, error_detail=error_detail)


def write_catalogue(folder: Path, rows: Iterable[TrackRow]) -> Path:
    """Make a catalogue of rows."""
    places = ", ".join("?" * len(COLUMNS))
    with Catalogue.open(folder) as catalogue:
        catalogue.connection.execute("BEGIN")
        catalogue.connection.executemany(
            f"INSERT INTO tracks ({', '.join(COLUMNS)}) VALUES ({places})", map(astuple, rows)
        )
        catalogue.connection.execute("COMMIT")
    return folder


def names_in(folder: Path) -> list[str]:
    """The names of the files in a folder, also of hidden ones."""
    return sorted(path.name for path in folder.iterdir())
