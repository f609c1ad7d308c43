"""One row for one answer, in CSV and in JSON Lines: the same for ``ccmusic classify`` and ``ccmusic batch export``."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

from ccmusic.process.log_lines import one_line

_ABOUT = ("duration_seconds", "classic_probability", "sure_level", "odd", "flags")

# A program for tables computes a cell that begins with one of these. A lone "-" is the name of standard input.
_FORMULA = re.compile("[=+@\uff1d\uff0b\uff20\uff0d]|-.")


def json_line(row: dict[str, Any], encoding: str) -> str:
    """An object on one line, in an encoding of the output; names that are not UTF-8 are exact, as escapes."""
    text = json.dumps(row, ensure_ascii=codecs.lookup(encoding).name != "utf-8")
    try:
        text.encode()
    except UnicodeEncodeError:  # a name that is not UTF-8
        return json.dumps(row)
    return text


def column_names(top_k: int) -> list[str]:
    """The names of the columns, with `top_k` genres and their probabilities."""
    return ["file", *_ABOUT, *rank_columns(top_k), "error"]


def rank_columns(top_k: int) -> list[str]:
    """The names of the columns of `top_k` genres, likeliest first: each genre, then its probability."""
    return [f"{name}_{rank}" for rank in range(1, top_k + 1) for name in ("genre", "probability")]


def cells(file: str, answer: dict[str, Any], top_k: int) -> list[Any]:
    """The cells of one recording, in the order of `column_names`.

    Parameters
    ----------
    file : str
        Its name, also with bytes that are not UTF-8 (``surrogateescape``).
    answer : dict
        As the API gives it; or with ``error``: ``type`` and ``detail``; or empty if there is neither.
    top_k : int
        Number of genres.

    Returns
    -------
    list
        Cells without a value are empty.
    """
    if "predictions" not in answer:
        error = text_cell(error_text(answer)) if "error" in answer else ""
        return [text_cell(file), *[""] * len([*_ABOUT, *rank_columns(top_k)]), error]
    facts = [answer["duration_seconds"], classic_probability(answer), sure_level(answer), answer["odd"]]
    return [text_cell(file), *facts, " ".join(answer["flags"]), *map(_text_or_number, ranks(answer, top_k)), ""]


def ranks(answer: dict[str, Any], top_k: int) -> list[Any]:
    """The `top_k` likeliest genres and their probabilities; empty texts where the taxonomy has fewer."""
    found = [cell for p in answer["predictions"][:top_k] for cell in (p["genre"], p["probability"])]
    return found + [""] * (2 * top_k - len(found))


def _text_or_number(value: Any) -> Any:
    return text_cell(value) if isinstance(value, str) else value


def text_cell(text: str) -> str:
    """A text as it may stand in a cell: on one line, and nothing that a program for tables would compute.

    Control characters and bytes that are not UTF-8 are escapes. A text that begins like a formula (``=``, ``+``, ``-``,
    ``@``, also full width) gets an apostrophe before it.
    """
    line = one_line(text, len(text))
    return f"'{line}" if _FORMULA.match(line) else line


def error_text(answer: dict[str, Any]) -> str:
    """The error of an answer on one line."""
    return one_line("{type}: {detail}".format(**answer["error"]))


def sure_level(answer: dict[str, Any]) -> int | None:
    """The level as in `TrackResult`: 0 if the answer is sure of none; None if the model does not know it."""
    return (answer["sure_level"] or 0) if "sure_level" in answer else None


def classic_probability(answer: dict[str, Any]) -> float | None:
    """The probability of classical music; None in a taxonomy without that group."""
    if answer["taxonomy"] != "ccmusic":
        return None
    return next(float(p["probability"]) for p in answer["levels"]["2"] if p["genre"] == "Classic")
