"""Carry out a plan, compare files with it, and undo it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ccmusic.audio.payload_hash import payload_hash
from ccmusic.batch.plan_format import WRITE, path_of
from ccmusic.errors import TagError
from ccmusic.tagging.changes import Change, TagOutcome, attempt, make_change, real_path
from ccmusic.tagging.fields import Fields, as_stored, change_fields, read_fields, restore_fields
from ccmusic.tagging.journal import Journal, Record
from ccmusic.tagging.plan import PlannedTrack, read_plan
from ccmusic.tagging.replacement import OnStep, content_hash

CHANGED_SINCE = "was changed since the plan was made"


def apply_plan(
    plan: Path, journal: Journal, *, keeps_times: bool = True, on_step: OnStep = lambda _: None
) -> Iterator[TagOutcome]:
    """Write what a plan says, one file after the other.

    Parameters
    ----------
    plan : Path
    journal : Journal
    keeps_times : bool
        Whether files keep their times; media servers notice a change by a new one.
    on_step : callable
        Called with each of `ccmusic.tagging.replacement.STEPS`.

    Raises
    ------
    InsufficientStorage
        The disk is full; the file is as it was.
    InvalidParameter
        The plan is not readable.
    """
    for track in read_plan(plan):
        if track.action == WRITE:
            yield attempt(track.path, lambda track=track: _apply(track, journal, keeps_times, on_step))  # type: ignore[misc]


def _apply(track: PlannedTrack, journal: Journal, keeps_times: bool, on_step: OnStep) -> str:
    def look(path: Path) -> Change | str:
        fields = read_fields(path)
        if _holds(track, path, fields):
            return "as planned"
        if fields.genres != track.genres_now or track.payload not in (None, payload_hash(path)):
            raise TagError(CHANGED_SINCE)
        return Change(
            lambda copy: change_fields(copy, track.genres, track.own),
            lambda found: _holds(track, path, found),
            {"genres": track.genres, "own": track.own},
        )

    return make_change(journal, real_path(track.path), look, keeps_times=keeps_times, on_step=on_step)


def _holds(track: PlannedTrack, path: Path, fields: Fields) -> bool:
    """Whether the fields are what the plan writes."""
    genres = track.genres_now if track.genres is None else as_stored(path, track.genres)
    return fields.genres == genres and (track.own is None or fields.own == track.own)


def verify_plan(plan: Path) -> Iterator[TagOutcome]:
    """Read the files of a plan again: ``as planned``, or ``left`` and why."""

    def look(track: PlannedTrack) -> str:
        path = real_path(track.path)
        fields = read_fields(path)
        if not _holds(track, path, fields):
            raise TagError(f"has {', '.join(fields.genres) or 'no genre'} and not {', '.join(track.genres or ())}")
        if track.payload not in (None, payload_hash(path)):
            raise TagError("has other sound than when the plan was made")
        return "as planned"

    for track in read_plan(plan):
        if track.action == WRITE:
            yield attempt(track.path, lambda track=track: look(track))  # type: ignore[misc]


def undo(journal: Journal, *, keeps_times: bool = True, on_step: OnStep = lambda _: None) -> Iterator[TagOutcome]:
    """Give the files of a journal the fields back that they had, the newest change first.

    A file that was changed since is left as it is.

    Raises
    ------
    InsufficientStorage
    """
    for record in journal.finished():
        path = path_of(record)
        yield attempt(path, lambda record=record, path=path: _undo(record, path, journal, keeps_times, on_step))  # type: ignore[misc]


def _undo(record: Record, path: Path, journal: Journal, keeps_times: bool, on_step: OnStep) -> str:
    def look(path: Path) -> Change | str:
        if content_hash(path) != record["content"]:
            raise TagError("was changed since its genre was written")
        return Change(
            lambda copy: restore_fields(copy, record["before"]),
            lambda found: [*found.genres] == record["genres_before"],
            {"undoes": record["change"]},
        )

    return make_change(journal, path, look, keeps_times=keeps_times, on_step=on_step)
