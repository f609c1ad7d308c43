"""The review queue: what a person should look at before genres are written into files."""

from __future__ import annotations

import heapq
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ccmusic.batch.certainty import certainty_of
from ccmusic.batch.genre_groups import groups_of
from ccmusic.batch.plan_format import path_fields
from ccmusic.genres import TAXONOMIES, Genre

if TYPE_CHECKING:
    from ccmusic.batch.track_row import TrackRow

KINDS = ("missing", "differs", "uncertain", "keep", "suggested")
"""``missing``: sure, and the file has no genre. ``differs``: sure, and the file has another genre. ``uncertain``: the
answer is sure of nothing (`ccmusic.batch.certainty`). ``keep``: the genre of the file is that of the answer.
``suggested``: sure, and the genre of the file is not known."""

MOST_OF_A_KIND = 1000
"""Tracks of each kind that the page has; the finest and likeliest answers first."""

MOST_GUESSES = 3
"""Genres that are offered for a track."""

MOST_OWN_CHARACTERS = 1000
"""In the genres of a file. Where there are more, they count as not read: a plan must have them exactly."""

WrittenGenres = Mapping[str, Sequence[str]]
"""What is written into files for each of our labels; nothing for an empty value; the label itself if it is missing."""

GenresOfFile = Callable[["TrackRow"], "Sequence[str] | None"]
"""Reads the genres that a file has; None if they cannot be read."""


class ReviewQueue:
    """Sorts tracks into `KINDS`, and keeps the first of each.

    Parameters
    ----------
    genres_of_file : callable, optional
        Without it, the genres of the files are not known.
    vocabulary : mapping of str to sequence of str, optional
        A file agrees with an answer in these words too.
    """

    def __init__(self, genres_of_file: GenresOfFile | None = None, vocabulary: WrittenGenres | None = None) -> None:
        self._genres_of_file = genres_of_file
        self._vocabulary = vocabulary or {}
        self.counts: Counter[str] = Counter()
        self._rows: dict[str, list[tuple[int, float, int, dict[str, Any]]]] = {kind: [] for kind in KINDS}

    def add(self, track: TrackRow, answer: dict[str, Any]) -> None:
        """Add a track that has an answer of the file as it is."""
        row = _row(track, answer)
        own = self._genres_of_file(track) if self._genres_of_file else None
        row["own"] = None if own is None or sum(map(len, own)) > MOST_OWN_CHARACTERS else list(own)
        row["kind"] = self._kind(row, answer)
        self.counts[row["kind"]] += 1
        rows = self._rows[row["kind"]]
        # the finest first; ids differ, so rows are never compared
        item = (row["level"], row["probability"], -track.id, row)
        (heapq.heappush if len(rows) < MOST_OF_A_KIND else heapq.heappushpop)(rows, item)

    def rows(self) -> list[dict[str, Any]]:
        """The tracks that are kept, by kind, the finest and likeliest answer first."""
        return [row for kind in KINDS for *_, row in sorted(self._rows[kind], reverse=True)]

    def _kind(self, row: dict[str, Any], answer: dict[str, Any]) -> str:
        if not row["level"]:
            return "uncertain"
        if row["own"] is None:
            return "suggested"
        if not any(map(_letters, row["own"])):
            return "missing"
        agrees = any(self._agrees(answer["taxonomy"], row["level"], row["genre"], own) for own in row["own"])
        return "keep" if agrees else "differs"

    def _agrees(self, taxonomy: str, level: int, genre: str, own: str) -> bool:
        """Whether a genre of a file is ours, or one is a group of the other: ``Rock`` agrees with ``Soft rock``."""
        ours = groups_of(taxonomy, level, genre)
        if _letters(own) in {letters for group in ours for letters in self._names(group)}:
            return True
        known = TAXONOMIES.get(taxonomy)
        return known is not None and any(
            genre in {group.label for group in groups_of(taxonomy, size, theirs.label)}
            for size, theirs_level in zip(known.sizes, known.levels, strict=True)
            for theirs in theirs_level
            if _letters(own) in self._names(theirs)
        )

    def _names(self, genre: Genre) -> set[str]:
        written = self._vocabulary.get(genre.label, ())
        return {_letters(name) for name in (genre.label, genre.label_en, genre.label_zh, *written)}


def _row(track: TrackRow, answer: dict[str, Any]) -> dict[str, Any]:
    sure = certainty_of(track.status, answer)
    guesses = [] if sure.level else [[p["genre"], p["probability"]] for p in answer["predictions"][:MOST_GUESSES]]
    return {
        **path_fields(track.path),
        "payload": track.payload,
        "genre": sure.label,
        "probability": sure.probability,
        "level": sure.level,
        "whyNot": sure.why_not,
        "guesses": guesses,
        "odd": answer["odd"],
        "seconds": answer["duration_seconds"],
    }


def _letters(text: str) -> str:
    """A name without case, spaces and signs: ``Soul_or_RnB`` is no other genre than ``soul or rnb``."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())
