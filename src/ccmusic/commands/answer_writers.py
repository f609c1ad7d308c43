"""The forms in which ``ccmusic classify`` prints its answers: JSON, CSV and a table.

Each writer prints an answer as soon as it has it, and returns how many recordings failed. JSON has the exact name of a
file. In the other forms control characters and bytes that are not UTF-8 are escapes, so that a row is always one line.
"""

from __future__ import annotations

import codecs
import csv
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from ccmusic.process.log_lines import one_line

Answers = Iterator[tuple[Path, dict[str, Any]]]
"""Each recording with its answer as the API gives it, or with ``error``: ``type`` and ``detail``."""

NAME_COLUMNS = 34


def write_json(answers: Answers, out: TextIO, _: int) -> int:
    """Print one JSON object per line."""
    n_failed = 0
    for file, answer in answers:
        n_failed += "error" in answer
        print(_json({"file": str(file), **answer}, out.encoding or "utf-8"), file=out, flush=True)
    return n_failed


def _json(row: dict[str, Any], encoding: str) -> str:
    text = json.dumps(row, ensure_ascii=codecs.lookup(encoding).name != "utf-8")
    try:
        text.encode()
    except UnicodeEncodeError:  # a name that is not UTF-8
        return json.dumps(row)
    return text


def write_csv(answers: Answers, out: TextIO, top_k: int) -> int:
    """Print one row per recording, with `top_k` genres and their probabilities."""
    n_failed = 0
    ranks = [f"{name}_{rank}" for rank in range(1, top_k + 1) for name in ("genre", "probability")]
    writer = csv.writer(out)
    about = ["duration_seconds", "classic_probability", "sure_level", "odd", "flags"]
    writer.writerow(["file", *about, *ranks, "error"])
    for file, answer in answers:
        if "error" in answer:
            n_failed += 1
            writer.writerow([_name(str(file)), *[""] * len([*about, *ranks]), _error_text(answer)])
            continue
        cells = [cell for p in answer["predictions"] for cell in (p["genre"], p["probability"])]
        cells += [""] * (len(ranks) - len(cells))
        facts = [answer["duration_seconds"], _classic(answer), _sure_level(answer), answer["odd"]]
        writer.writerow([_name(str(file)), *facts, " ".join(answer["flags"]), *cells, ""])
    return n_failed


def _sure_level(answer: dict[str, Any]) -> int | None:
    """Return the level as in `TrackResult`: 0 if the answer is sure of none; None if the model does not know it."""
    return (answer["sure_level"] or 0) if "sure_level" in answer else None


def write_table(answers: Answers, out: TextIO, _: int) -> int:
    """Print one line per recording for people to read."""
    n_failed = 0
    for file, answer in answers:
        n_failed += "error" in answer
        text = f"  {_error_text(answer)}" if "error" in answer else f" {_table_cells(answer)}"
        print(f"{fit(_name(file.name or str(file)), NAME_COLUMNS)}{text}", file=out, flush=True)
    return n_failed


def _name(text: str) -> str:
    return one_line(text, len(text))


def _error_text(answer: dict[str, Any]) -> str:
    return one_line("{type}: {detail}".format(**answer["error"]))


def _table_cells(answer: dict[str, Any]) -> str:
    genres = ", ".join(f"{p['label_en']} {100 * p['probability']:.0f}%" for p in answer["predictions"])
    shown = dict.fromkeys([*answer["flags"], *filter(None, [answer["odd"]])])  # silence may be in both
    flags = f"  [{', '.join(shown)}]" if shown else ""
    if (level := answer.get("sure_level")) and level < answer["level"]:  # a coarser one than is shown
        flags = f"  [sure only of {answer['levels'][str(level)][0]['label_en']}]{flags}"
    classic = _classic(answer)
    side = "" if classic is None else f"{f'classical {100 * classic:.0f}%':>14}  "
    return f"{answer['duration_seconds']:7.1f} s  {side}{genres}{flags}"


def _classic(answer: dict[str, Any]) -> float | None:
    """Return the probability of classical music; None in a taxonomy without that group."""
    if answer["taxonomy"] != "ccmusic":
        return None
    return next(float(p["probability"]) for p in answer["levels"]["2"] if p["genre"] == "Classic")


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
