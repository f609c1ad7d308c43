"""The forms in which ``ccmusic classify`` prints its answers: JSON, CSV and a table.

Each writer prints an answer as soon as it has it, and returns how many recordings failed. JSON has the exact name of a
file. In the other forms control characters and bytes that are not UTF-8 are escapes, so that a row is always one line.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from ccmusic.batch.answer_rows import cells, classic_probability, column_names, error_text, json_line
from ccmusic.process.log_lines import one_line

Answers = Iterator[tuple[Path, dict[str, Any]]]
"""Each recording with its answer as the API gives it, or with ``error``: ``type`` and ``detail``."""

NAME_COLUMNS = 34


def write_json(answers: Answers, out: TextIO, _: int) -> int:
    """Print one JSON object per line."""
    n_failed = 0
    for file, answer in answers:
        n_failed += "error" in answer
        print(json_line({"file": str(file), **answer}, out.encoding or "utf-8"), file=out, flush=True)
    return n_failed


def write_csv(answers: Answers, out: TextIO, top_k: int) -> int:
    """Print one row per recording, with `top_k` genres and their probabilities."""
    n_failed = 0
    writer = csv.writer(out)
    writer.writerow(column_names(top_k))
    for file, answer in answers:
        n_failed += "error" in answer
        writer.writerow(cells(str(file), answer, top_k))
    return n_failed


def write_table(answers: Answers, out: TextIO, _: int) -> int:
    """Print one line per recording for people to read."""
    n_failed = 0
    for file, answer in answers:
        n_failed += "error" in answer
        text = f"  {error_text(answer)}" if "error" in answer else f" {_table_cells(answer)}"
        print(f"{fit(_name(file.name or str(file)), NAME_COLUMNS)}{text}", file=out, flush=True)
    return n_failed


def _name(text: str) -> str:
    return one_line(text, len(text))


def _table_cells(answer: dict[str, Any]) -> str:
    genres = ", ".join(f"{p['label_en']} {100 * p['probability']:.0f}%" for p in answer["predictions"])
    shown = dict.fromkeys([*answer["flags"], *filter(None, [answer["odd"]])])  # silence may be in both
    flags = f"  [{', '.join(shown)}]" if shown else ""
    if (level := answer.get("sure_level")) and level < answer["level"]:  # a coarser one than is shown
        flags = f"  [sure only of {answer['levels'][str(level)][0]['label_en']}]{flags}"
    classic = classic_probability(answer)
    side = "" if classic is None else f"{f'classical {100 * classic:.0f}%':>14}  "
    return f"{answer['duration_seconds']:7.1f} s  {side}{genres}{flags}"


def fit(text: str, width: int) -> str:
    """Pad or shorten a text to `width` terminal columns. A Chinese character takes two."""
    columns = 0
    kept = ""
    for character in text:
        columns += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if columns > width:
            return kept[:-1] + "…"
        kept += character
    return kept + " " * (width - columns)


WRITERS = {"json": write_json, "csv": write_csv, "table": write_table}
