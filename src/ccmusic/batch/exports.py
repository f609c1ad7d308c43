"""Tables of a catalogue: CSV and JSON Lines. Each row is written as soon as it is read, so memory is flat.

The columns are those of ``ccmusic classify``, and then what only a catalogue knows: `OF_THE_CATALOGUE`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

from ccmusic.batch.answer_rows import cells, column_names, json_line

if TYPE_CHECKING:
    from ccmusic.batch.track_row import TrackRow

OF_THE_CATALOGUE = ("id", "status", "payload", "same_as")
"""``same_as`` is the ``id`` of the track with the same sound from which the answer was taken over."""


def write_csv(tracks: Iterable[TrackRow], out: TextIO, top_k: int) -> int:
    """Write a row per track, with `top_k` genres and their probabilities.

    Returns
    -------
    int
        The number of tracks.
    """
    writer = csv.writer(out)
    writer.writerow([*column_names(top_k), *OF_THE_CATALOGUE])
    n_tracks = 0
    for track in tracks:
        own = (track.id, track.status, track.payload, track.same_as)
        writer.writerow([*cells(str(track.file), answer_of(track), top_k), *own])
        n_tracks += 1
    return n_tracks


def write_json_lines(tracks: Iterable[TrackRow], out: TextIO) -> int:
    """Write a JSON object per track, with the whole answer.

    Returns
    -------
    int
        The number of tracks.
    """
    n_tracks = 0
    for track in tracks:
        own = {"id": track.id, "status": track.status, "payload": track.payload, "same_as": track.same_as}
        parts = [{"file": str(track.file)}, track.answer or answer_of(track), own]
        out.write(joined(parts, out.encoding or "utf-8") + "\n")
        n_tracks += 1
    return n_tracks


def joined(parts: Iterable[dict[str, Any] | str], encoding: str) -> str:
    """One object of JSON with the fields of several. A text is JSON of an object already, and is not read again."""
    texts = (part if isinstance(part, str) else json_line(part, encoding) for part in parts)
    return "{" + ", ".join(body for text in texts if (body := text.strip()[1:-1].strip())) + "}"


def answer_of(track: TrackRow) -> dict[str, Any]:
    """The answer as ``ccmusic classify --json`` gives it; or only ``error``; or nothing for a track that waits."""
    if track.answer is not None:
        answer: dict[str, Any] = json.loads(track.answer)
        return answer
    if track.error_type is None and track.error_detail is None:
        return {}
    # a skipped file has only a reason
    return {"error": {"type": track.error_type or track.status, "detail": track.error_detail or ""}}
