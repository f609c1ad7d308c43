"""The plan: what would be written into which file and why, as readable JSON Lines. Making it writes nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ccmusic.batch.plan_format import KEEP, PLAN_VERSION, WRITE, path_fields, path_of
from ccmusic.batch.whole_file import whole_file
from ccmusic.errors import InvalidParameter

MOST_LINE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class PlannedTrack:
    """A line of a plan.

    Parameters
    ----------
    path : Path
    action : str
        ``write`` or ``keep``.
    reason : str
        Why it is kept; empty for ``write``.
    genres_now : tuple of str
        What the tags say when the plan is made.
    genres : tuple of str or None
        What they will say; None if only our own fields are written.
    own : dict or None
        Our own fields; None if they stay as they are.
    payload : str or None
        The hash of the sound; None if it is not known, and then not compared with the file.
    answer : dict
        ``label``, ``level`` and ``probability`` that the genre comes from.
    """

    path: Path
    action: str
    reason: str = ""
    genres_now: tuple[str, ...] = ()
    genres: tuple[str, ...] | None = None
    own: dict[str, str] | None = None
    payload: str | None = None
    answer: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The line, without what is empty."""
        fields = {name: value for name, value in asdict(self).items() if name != "path" and value not in ("", {}, None)}
        return {**path_fields(os.fsencode(self.path)), **fields}


def write_plan(path: Path, about: dict[str, Any], tracks: Iterable[PlannedTrack]) -> dict[str, int]:
    """Write a plan, and return how many of its lines have each action and reason.

    Parameters
    ----------
    path : Path
        The file to make; its folder too if it is missing. It is there only when it is complete.
    about : dict
        How the plan was made; its first line.
    tracks : iterable of PlannedTrack

    Raises
    ------
    InvalidParameter
        The file exists, or cannot be written.
    InsufficientStorage
    """
    if path.exists():
        raise InvalidParameter("--out", f"is {path}, which exists: name another file")
    counts: dict[str, int] = {}
    with whole_file(path) as out:
        out.write(_line({"plan": PLAN_VERSION, **about}))
        for track in tracks:
            out.write(_line(track.as_json()))
            what = track.action if track.action == WRITE else f"{KEEP}: {track.reason}"
            counts[what] = counts.get(what, 0) + 1
    return counts


def _line(record: dict[str, Any]) -> bytes:
    # a reason may name a file that is not UTF-8
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def read_plan(path: Path) -> Iterator[PlannedTrack]:
    """The lines of a plan, one at a time.

    Raises
    ------
    InvalidParameter
        The file cannot be read, or a line of it is no line of a plan.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MOST_LINE_BYTES), b""), 1):
                if not line.strip():
                    continue
                track = _read_line(path, number, line)
                if track is not None:
                    yield track
    except OSError as error:
        raise InvalidParameter("PLAN", f"is {path}, which cannot be read: {error.strerror}") from error


def _read_line(path: Path, number: int, line: bytes) -> PlannedTrack | None:
    """A line as a person may have edited it; None for the first one."""
    try:
        record = json.loads(line)
        if number == 1:
            if record["plan"] != PLAN_VERSION:
                raise InvalidParameter("PLAN", f"{path} has version {record['plan']!r} and not {PLAN_VERSION}")
            return None
        genres, own = record.get("genres"), record.get("own")
        track = PlannedTrack(
            path_of(record),
            record["action"],
            record.get("reason", ""),
            _texts(record.get("genres_now", [])),
            None if genres is None else _texts(genres),
            None if own is None else dict(zip(own, _texts(list(own.values())), strict=True)),
            record.get("payload"),
            record.get("answer", {}),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InvalidParameter):
            raise
        raise InvalidParameter("PLAN", f"{path}, line {number}, is no line of a plan ({error!r})") from error
    if track.action not in (WRITE, KEEP) or (track.action == WRITE and not track.genres and track.own is None):
        raise InvalidParameter("PLAN", f"{path}, line {number}: write needs genres or own; else the action is keep")
    return track


def _texts(values: list[Any]) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("a list of texts was expected")
    return tuple(values)
