"""What a plan proposes for each track of a catalogue."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ccmusic.audio.payload_hash import payload_hash
from ccmusic.batch import certainty
from ccmusic.batch.certainty import Certainty, certainty_of
from ccmusic.batch.exports import answer_of
from ccmusic.batch.plan_format import KEEP, WRITE
from ccmusic.batch.track_row import TrackRow
from ccmusic.errors import CcmusicError, InvalidParameter
from ccmusic.tagging.fields import as_stored, read_fields
from ccmusic.tagging.one_tag import OWN
from ccmusic.tagging.plan import PlannedTrack
from ccmusic.tagging.vocabulary import Vocabulary

MISSING, REPLACE, ADD = "missing", "replace", "add"
MODES = (MISSING, REPLACE, ADD)
"""Write a genre only where there is none; in place of the one that is there; beside it."""
HAS_IT = "has this genre"


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a plan is made.

    Parameters
    ----------
    vocabulary : Vocabulary
    mode : str
        One of `MODES`.
    evidence : bool
        Whether fields of our own say which label, level and probability the genre comes from.
    """

    vocabulary: Vocabulary
    mode: str = MISSING
    evidence: bool = False


def propose(row: TrackRow, wishes: Wishes) -> PlannedTrack:
    """The line of a plan for one track. The file is read and not changed."""
    track = PlannedTrack(row.file, KEEP)
    answer = answer_of(row)
    sure = certainty_of(row.status, answer)
    if sure.why_not:
        return replace(track, reason=_sentence(sure.why_not, answer))
    track = replace(track, answer=_evidence(sure))
    try:
        return _against_file(row, answer, sure, wishes, track)
    except InvalidParameter as error:
        return replace(track, reason=error.reason)
    except CcmusicError as error:
        return replace(track, reason=error.sentence)
    except OSError as error:
        return replace(track, reason=f"cannot be read: {error.strerror}")


def _against_file(
    row: TrackRow, answer: dict[str, Any], sure: Certainty, wishes: Wishes, track: PlannedTrack
) -> PlannedTrack:
    fields, payload = read_fields(row.file), _payload(row)
    track = replace(track, genres_now=fields.genres, payload=payload)
    if row.payload not in (None, payload):
        return replace(track, reason="has other sound than when it was analysed")
    genres, why = _genres(sure.label, wishes, fields.genres)
    if genres and as_stored(row.file, genres) == fields.genres:
        genres, why = (), HAS_IT
    own = _own_fields(answer, sure) if wishes.evidence else None
    if own == fields.own:
        own = None
    if not genres and own is None:
        return replace(track, reason=why)
    return replace(track, action=WRITE, genres=genres or None, own=own)


def _sentence(why_not: str, answer: dict[str, Any]) -> str:
    """Why there is nothing to write, whatever the file holds."""
    if why_not == certainty.NO_MUSIC:
        return f"seems to be no music: {answer['odd']}"
    if why_not in (certainty.TOO_SHORT, certainty.UNCERTAIN):
        return why_not.replace("_", " ")
    return f"{why_not}, see `ccmusic batch status`"


def _evidence(sure: Certainty) -> dict[str, Any]:
    return {"label": sure.label, "level": sure.level, "probability": round(sure.probability, 4)}


def _genres(label: str, wishes: Wishes, now: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The genres to write, or none and why."""
    if now and wishes.mode == MISSING:
        return (), "has a genre"
    genres = wishes.vocabulary.of(label)
    if not genres:
        return (), f"{label} is {'not in' if genres is None else 'excluded by'} the vocabulary"
    if wishes.mode == ADD:
        known = {part.strip().casefold() for genre in now for part in (genre, *genre.split("/"))}
        new = tuple(genre for genre in genres if genre.casefold() not in known)
        return (*now, *new) if new else (), HAS_IT
    return genres, ""


def _own_fields(answer: dict[str, Any], sure: Certainty) -> dict[str, str]:
    model = answer["model"]
    names = {"label": "GENRE", "level": "LEVEL", "probability": "PROBABILITY"}
    fields = {f"{OWN}{names[name]}": str(value) for name, value in _evidence(sure).items()}
    return {**fields, f"{OWN}MODEL": f"{model['name']} {model['version']}".strip()}


def _payload(row: TrackRow) -> str:
    """The hash of the sound; from the catalogue if the file has not changed since."""
    about = row.file.stat()
    if row.payload is not None and (about.st_size, about.st_mtime_ns) == (row.size, row.modified_ns):
        return row.payload
    return payload_hash(row.file)
