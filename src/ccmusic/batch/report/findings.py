"""What the report says about the answers of a library, counted in one reading of the catalogue."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ccmusic.batch.certainty import ANSWERED, certainty_of
from ccmusic.genres import TAXONOMIES, Taxonomy, taxonomy_of
from ccmusic.process.log_lines import one_line

if TYPE_CHECKING:
    from ccmusic.batch.track_row import TrackRow

N_BINS = 20
"""Of the histogram of the likeliest probability."""

MOST_EXAMPLES = 10
"""Files that are named for each reason of a failure."""

MOST_REASONS = 50
"""Reasons that are listed; failures for further ones are counted together."""

MOST_TEXT = 300
"""Characters of a name or detail in the list of failures."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer at each level of the report's taxonomy.

    Attributes
    ----------
    groups : tuple of int
        For each level, finest first, the position of the likeliest group in ``taxonomy.genres(level)``.
    probabilities : tuple of float
        Theirs.
    sure_level : int
        The finest level of which the answer is sure (`ccmusic.batch.certainty`), 0 if of none.
    """

    groups: tuple[int, ...]
    probabilities: tuple[float, ...]
    sure_level: int


@dataclass
class LevelCounts:
    """Counts at one level: tracks and seconds of each group, and the histogram, for sure and other answers."""

    sure: list[int]
    unsure: list[int]
    seconds: list[float]
    sure_bins: list[int] = field(default_factory=lambda: [0] * N_BINS)
    unsure_bins: list[int] = field(default_factory=lambda: [0] * N_BINS)


class Findings:
    """Counts over the tracks of a library.

    Parameters
    ----------
    taxonomy : Taxonomy
        Answers in another one are only counted, as `n_other`.
    """

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.taxonomy = taxonomy
        self.statuses: Counter[str] = Counter()
        self.odd: Counter[str] = Counter()
        self.flags: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, list[tuple[str, str]]] = {}
        self.seconds = 0.0
        self.n_same = 0
        self.n_other = 0
        self.n_sure = 0
        self.n_unsure = 0
        self.levels = [LevelCounts([0] * size, [0] * size, [0.0] * size) for size in taxonomy.sizes]
        self._positions = [{genre.label: i for i, genre in enumerate(level)} for level in taxonomy.levels]

    def add(self, track: TrackRow, answer: dict[str, Any]) -> Seen | None:
        """Count a track.

        Parameters
        ----------
        track : TrackRow
        answer : dict
            As `ccmusic.batch.exports.answer_of` gives it.

        Returns
        -------
        Seen or None
            None without an answer of the file as it is, in the report's taxonomy.
        """
        self.statuses[track.status] += 1
        if "error" in answer:
            self._add_failure(track, answer["error"])
        if track.status not in ANSWERED:
            return None
        self.seconds += answer["duration_seconds"]
        self.n_same += track.same_as is not None
        self.flags.update(answer["flags"])
        if answer["odd"] is not None:
            self.odd[answer["odd"]] += 1
        seen = self._seen(track.status, answer)
        if seen is None:
            self.n_other += 1
            return None
        self.n_sure += seen.sure_level > 0
        self.n_unsure += seen.sure_level == 0
        for counts, size, group, probability in zip(
            self.levels, self.taxonomy.sizes, seen.groups, seen.probabilities, strict=True
        ):
            sure = seen.sure_level >= size  # a level is named by its number of groups: coarser ones are sure too
            (counts.sure if sure else counts.unsure)[group] += 1
            counts.seconds[group] += answer["duration_seconds"]
            (counts.sure_bins if sure else counts.unsure_bins)[min(int(probability * N_BINS), N_BINS - 1)] += 1
        return seen

    def _seen(self, status: str, answer: dict[str, Any]) -> Seen | None:
        if answer["taxonomy"] != self.taxonomy.name:
            return None
        first = [answer["levels"][str(size)][0] for size in self.taxonomy.sizes if str(size) in answer["levels"]]
        if len(first) != len(self.taxonomy.sizes):
            return None
        groups = [positions.get(p["genre"]) for positions, p in zip(self._positions, first, strict=True)]
        if None in groups:  # another model with labels of its own
            return None
        level = certainty_of(status, answer).level
        return Seen(tuple(groups), tuple(p["probability"] for p in first), level)  # type: ignore[arg-type]

    def _add_failure(self, track: TrackRow, error: dict[str, str]) -> None:
        reason = error["type"]
        if reason not in self.examples:
            if len(self.examples) >= MOST_REASONS:
                reason = "other"
            self.examples.setdefault(reason, [])
        self.reasons[reason] += 1
        if len(self.examples[reason]) < MOST_EXAMPLES:
            self.examples[reason].append((shown(track.name), shown(error["detail"])))


def shown(text: str) -> str:
    """A name or a message as the page shows it: valid text on one line, without marks that change its direction."""
    return one_line(text.encode("utf-8", "backslashreplace").decode(), MOST_TEXT)


def taxonomy_of_answer(answer: dict[str, Any]) -> Taxonomy:
    """The taxonomy of an answer with every label."""
    if answer["taxonomy"] in TAXONOMIES:
        return TAXONOMIES[answer["taxonomy"]]
    return taxonomy_of("own", sorted(p["genre"] for p in answer["levels"][str(answer["level"])]))
