"""What a plan proposes for each track of a catalogue."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from ccmusic.audio.payload_hash import payload_hash
from ccmusic.batch.track_row import TrackRow
from ccmusic.errors import CcmusicError, InvalidParameter
from ccmusic.tagging.fields import as_stored, read_fields
from ccmusic.tagging.one_tag import OWN
from ccmusic.tagging.plan import KEEP, WRITE, PlannedTrack
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
        Whether fields of our own say on what the genre rests.
    """

    vocabulary: Vocabulary
    mode: str = MISSING
    evidence: bool = False


def propose(row: TrackRow, wishes: Wishes) -> PlannedTrack:
    """The line of a plan for one track. The file is read and not changed."""
    track = PlannedTrack(row.file, KEEP)
    why = _no_answer(row)
    if why:
        return replace(track, reason=why)
    track = replace(track, answer=_answer(row))
    try:
        return _against_file(row, wishes, track)
    except InvalidParameter as error:
        return replace(track, reason=error.reason)
    except CcmusicError as error:
        return replace(track, reason=error.sentence)
    except OSError as error:
        return replace(track, reason=f"cannot be read: {error.strerror}")


def _against_file(row: TrackRow, wishes: Wishes, track: PlannedTrack) -> PlannedTrack:
    fields, payload = read_fields(row.file), _payload(row)
    track = replace(track, genres_now=fields.genres, payload=payload)
    if row.payload not in (None, payload):
        return replace(track, reason="has other sound than when it was analysed")
    genres, why = _genres(row, wishes, fields.genres)
    if genres and as_stored(row.file, genres) == fields.genres:
        genres, why = (), HAS_IT
    own = _evidence(row) if wishes.evidence else None
    if own == fields.own:
        own = None
    if not genres and own is None:
        return replace(track, reason=why)
    return replace(track, action=WRITE, genres=genres or None, own=own)


def _no_answer(row: TrackRow) -> str:
    """Why there is nothing to write, whatever the file holds; empty if there is."""
    if row.status != "ok":
        return f"{row.status}, see `ccmusic batch status`"
    if row.odd is not None:
        return f"seems to be no music: {row.odd}"
    flags = json.loads(row.flags or "[]")
    if "too_short" in flags:
        return "too short"
    if row.sure_level == 0 or (row.sure_level is None and "uncertain" in flags):
        return "uncertain"
    return ""


def _label(row: TrackRow) -> str:
    """The finest label of which the answer is sure; the likeliest one of a model without such thresholds."""
    return row.sure_genre or row.genre or ""


def _answer(row: TrackRow) -> dict[str, Any]:
    label = _label(row)
    probability = row.probability
    for level in json.loads(row.answer or "{}").get("levels", {}).values():
        found = [each["probability"] for each in level if each["genre"] == label]
        if found and label != row.genre:
            probability = found[0]
    level = {} if row.sure_level is None else {"level": row.sure_level}
    return {"label": label, **level, **({} if probability is None else {"probability": round(probability, 4)})}


def _genres(row: TrackRow, wishes: Wishes, now: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The genres to write, or none and why."""
    if now and wishes.mode == MISSING:
        return (), "has a genre"
    label = _label(row)
    genres = wishes.vocabulary.of(label)
    if not genres:
        return (), f"{label} is {'not in' if genres is None else 'excluded by'} the vocabulary"
    if wishes.mode == ADD:
        known = {part.strip().casefold() for genre in now for part in (genre, *genre.split("/"))}
        new = tuple(genre for genre in genres if genre.casefold() not in known)
        return (*now, *new) if new else (), HAS_IT
    return genres, ""


def _evidence(row: TrackRow) -> dict[str, str]:
    model = json.loads(row.answer or "{}").get("model", {})
    names = {"label": "GENRE", "level": "LEVEL", "probability": "PROBABILITY"}
    evidence = {f"{OWN}{names[name]}": str(value) for name, value in _answer(row).items()}
    return {**evidence, f"{OWN}MODEL": f"{model.get('name', '')} {model.get('version', '')}".strip()}


def _payload(row: TrackRow) -> str:
    """The hash of the sound; from the catalogue if the file has not changed since."""
    about = row.file.stat()
    if row.payload is not None and (about.st_size, about.st_mtime_ns) == (row.size, row.modified_ns):
        return row.payload
    return payload_hash(row.file)
