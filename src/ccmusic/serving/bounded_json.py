"""JSON of strangers: bounds on its values and its depth, checked before they cost time."""

from __future__ import annotations

import json
from typing import Any

from ccmusic.errors import InvalidParameter

LARGE_BYTES = 64 * 1024
"""Larger JSON is parsed on a thread."""


def parse_json(text: bytes, max_values: int, max_depth: int) -> Any:
    """Parse JSON that does not cost more than its size.

    Parameters
    ----------
    text : bytes
    max_values : int
        Most commas and brackets, also within strings: counting them takes a millisecond, a parser that builds the
        values of a few megabytes takes a second in which nothing else runs.
    max_depth : int
        Most lists and objects within each other.

    Raises
    ------
    InvalidParameter
        It is no JSON, or beyond the bounds. The text states what is wrong.
    """
    if sum(map(text.count, (b",", b"[", b"{"))) > max_values:
        raise InvalidParameter("request", f"has more than {max_values} values (CCMUSIC_MAX_JSON_VALUES)")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        if rb"\u" in text or not text.isascii():
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        # the text of a UnicodeEncodeError repeats the value
        cause = "half a surrogate pair" if isinstance(error, UnicodeEncodeError) else error
        raise InvalidParameter("request", f"is not JSON: {cause}") from error
    if _is_deeper(value, max_depth):
        raise InvalidParameter("request", f"is deeper than {max_depth} levels (CCMUSIC_MAX_JSON_DEPTH)")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _is_deeper(value: Any, max_depth: int) -> bool:
    """Whether there are more lists and objects within each other."""
    level = [value]
    for _ in range(max_depth + 1):
        level = [
            each
            for holder in level
            if isinstance(holder, dict | list)
            for each in (holder.values() if isinstance(holder, dict) else holder)
        ]
        if not level:
            return False
    return True
