"""What one analysis gives: the columns of ``tracks`` that it fills."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ccmusic.batch.answer_rows import sure_level
from ccmusic.errors import described

GONE = "is no longer there"
"""Why a file is skipped that was found, and then vanished."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one file. The attributes are columns of ``tracks`` (`ccmusic.batch.track_row.TrackRow`)."""

    status: str
    payload: str | None = None
    answer: str | None = None
    genre: str | None = None
    probability: float | None = None
    sure_level: int | None = None
    sure_genre: str | None = None
    odd: str | None = None
    flags: str | None = None
    duration_seconds: float | None = None
    embedding: bytes | None = None
    error_type: str | None = None
    error_detail: str | None = None
    same_as: int | None = None
    seconds: float | None = None


def answered(answer: dict[str, Any], *, keep_windows: bool, **columns: Any) -> Outcome:
    """The outcome of a recording with an answer.

    Parameters
    ----------
    answer : dict
        From `TrackResult.as_json`, with every label.
    keep_windows : bool
        Whether the answers of the windows are kept: nine tenths of the text.
    **columns
        Others of `Outcome`.
    """
    kept = answer if keep_windows else {name: value for name, value in answer.items() if name != "windows"}
    top = answer["predictions"][0]
    level = sure_level(answer)
    return Outcome(
        status="ok",
        answer=json.dumps(kept, ensure_ascii=False, separators=(",", ":")),
        genre=top["genre"],
        probability=top["probability"],
        sure_level=level,
        sure_genre=answer["levels"][str(level)][0]["genre"] if level else None,
        odd=answer["odd"],
        flags=json.dumps(answer["flags"]),
        duration_seconds=answer["duration_seconds"],
        **columns,
    )


def failed(error: Exception, **columns: Any) -> Outcome:
    """The outcome of a recording that cannot be used."""
    problem = described(error)
    # the text may repeat a name that is not UTF-8
    detail = problem["detail"].encode("utf-8", "backslashreplace").decode()
    return Outcome(status="failed", error_type=problem["type"], error_detail=detail, **columns)


def skipped(reason: str) -> Outcome:
    """The outcome of a file that is not there, or is not readable."""
    return Outcome(status="skipped", error_detail=reason)
