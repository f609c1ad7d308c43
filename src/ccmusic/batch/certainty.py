"""Of what is an answer sure? One rule for the playlists, the report and the plan of tags (docs/tags.md).

What is sure here may be written into a file. The column ``sure_level`` of a table is what the model says, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANSWERED = ("ok", "stale")
"""Statuses of tracks whose answer is that of the file as it is."""

STALE, NO_MUSIC, TOO_SHORT, UNCERTAIN = REASONS = ("stale", "no_music", "too_short", "uncertain")
"""Why an answer is sure of nothing, in this order: it is of another model, version or setting; the recording seems to
be no music; it is too short; no probability is high enough. For a status that is not in `ANSWERED`, this status."""


@dataclass(frozen=True, slots=True)
class Certainty:
    """Of what an answer is sure.

    Attributes
    ----------
    level : int
        The finest level of which it is sure; 0 if of none.
    label : str
        The likeliest label of this level; if it is sure of none, of the level that was requested. Empty without an
        answer.
    probability : float
        That of the label.
    why_not : str
        Why it is sure of nothing: one of `REASONS`, or a status; empty if it is sure.
    """

    level: int
    label: str
    probability: float
    why_not: str = ""


def certainty_of(status: str, answer: Mapping[str, Any]) -> Certainty:
    """Of what an answer is sure.

    Parameters
    ----------
    status : str
        Of the track, one of `ccmusic.batch.track_row.STATUSES`.
    answer : mapping of str to Any
        As `ccmusic.batch.exports.answer_of` gives it. Not read for a status that is not in `ANSWERED`.

    Returns
    -------
    Certainty
    """
    if status not in ANSWERED:
        return Certainty(0, "", 0.0, status)
    why_not = _why_not(status, answer)
    # a model without thresholds does not say of which level it is sure
    level = 0 if why_not else int(answer.get("sure_level") or answer["level"])
    likeliest = answer["levels"][str(level or answer["level"])][0]
    return Certainty(level, likeliest["genre"], likeliest["probability"], why_not)


def _why_not(status: str, answer: Mapping[str, Any]) -> str:
    if status == "stale":
        return STALE
    if answer["odd"] is not None:
        return NO_MUSIC
    if "too_short" in answer["flags"]:
        return TOO_SHORT
    sure = bool(answer["sure_level"]) if "sure_level" in answer else "uncertain" not in answer["flags"]
    return "" if sure else UNCERTAIN
