"""Explains the genre of a window by occlusion: make parts of the spectrogram quiet one by one, run the network again.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 4.2. Occlusion needs no
gradients, so it works for every network that the service can run. Each number is an output of the network itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ccmusic.errors import InvalidParameter
from ccmusic.features.cqt import BINS_PER_OCTAVE, FMIN
from ccmusic.features.display import display_image
from ccmusic.genres import Genre, Taxonomy
from ccmusic.models.card import Card

BLOCKS = 10
"""Number of time blocks per window; each octave of a block is one part."""
DRAWN_BLOCKS = 3
"""The same for networks that take drawings: each part costs a drawing and a run of a large network."""
MIN_BLOCK_FRAMES = 10
QUIET_PERCENTILE = 10.0
"""A quiet part gets the level of this percentile of its window."""
MIN_EVIDENCE = 0.1
"""In log odds; if no part has this much, the text names none."""
ABOVE_ALL_SHARE, MOSTLY_SHARE = 0.4, 0.5
"""Share of the positive evidence that a register needs before the text names it."""
SHORT_SHARE = 0.3
"""The text names a time if half of the register's evidence is within this share of the window."""

REGISTERS: tuple[tuple[str, str, int, int], ...] = (
    ("the bass", "低音", 0, 2),
    ("the middle", "中音", 2, 5),
    ("the high notes", "高音", 5, 7),
)
"""English name, Chinese name, first octave and the octave after the last, from C1: to 131 Hz, to 1,047 Hz, above."""


@dataclass(frozen=True, slots=True)
class ExplainPlan:
    """Which windows to explain, and for which genre.

    Attributes
    ----------
    windows : int
        Largest number of windows; those with the highest probability of the genre are explained.
    window : int or None
        Index of the only window to explain, from 0.
    genre : str or None
        Label of the genre; None for the track's likeliest genre.
    taxonomy : str or None
        Name of the taxonomy that has the genre; None for the first of the model.
    level : int or None
        Level of the taxonomy that has the genre; None for the finest.
    """

    windows: int = 1
    window: int | None = None
    genre: str | None = None
    taxonomy: str | None = None
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The probability of one genre in a window, with and without each part of the window.

    Attributes
    ----------
    window : int
        Index of the window, from 0.
    start_seconds, end_seconds : float
        Position in the recording.
    taxonomy : str
        Name of the taxonomy that has the genre.
    genre : Genre
    probability : float
        With the whole window.
    without : np.ndarray [shape=(octaves, blocks), dtype=float64]
        With one part made quiet; the lowest octave first.
    spectrogram_db : np.ndarray [shape=(84, columns), dtype=uint8]
        Image of the window, as `TrackResult.spectrogram_db`.
    """

    window: int
    start_seconds: float
    end_seconds: float
    taxonomy: str
    genre: Genre
    probability: float
    without: np.ndarray
    spectrogram_db: np.ndarray

    @property
    def evidence(self) -> np.ndarray:
        """How much each part raises the log odds of the genre [shape=(octaves, blocks)]."""
        return np.asarray(_log_odds(np.array(self.probability)) - _log_odds(self.without))

    @property
    def edges_seconds(self) -> np.ndarray:
        """Edges of the blocks, as times in the recording [shape=(blocks + 1,)]."""
        return np.linspace(self.start_seconds, self.end_seconds, self.without.shape[1] + 1)

    def text(self, language: Literal["en", "zh"] = "en") -> str:
        """One line that names the part with the most evidence for the genre."""
        name = self.genre.label_zh if language == "zh" else self.genre.label_en
        evidence = np.maximum(self.evidence, 0.0)
        sums = np.array([evidence[low:high].sum(axis=0) for _, _, low, high in REGISTERS])
        strongest = int(sums.sum(axis=1).argmax())
        share = float(sums[strongest].sum()) / max(float(evidence.sum()), 1e-9)
        if evidence.max() < MIN_EVIDENCE or share < ABOVE_ALL_SHARE:
            return _SPREAD[language].format(genre=name)
        first, last = _shortest_half(sums[strongest])
        if last - first <= SHORT_SHARE * evidence.shape[1]:
            start, end = self.edges_seconds[first], self.edges_seconds[last]
            when = _BETWEEN[language].format(start=f"{start:.0f}", end=f"{end:.0f}")
        else:
            when = _THROUGHOUT[language]
        texts = _MOSTLY if share >= MOSTLY_SHARE else _ABOVE_ALL
        return texts[language].format(genre=name, register=REGISTERS[strongest][language == "zh"], when=when)

    def as_json(self) -> dict[str, Any]:
        """The `saliency` object of the HTTP API and the command line."""
        return {
            "genre": self.genre.label,
            "probability": round(self.probability, 6),
            "octave_hz": [round(FMIN * 2.0**octave, 2) for octave in range(len(self.without) + 1)],
            "block_seconds": [round(float(edge), 3) for edge in self.edges_seconds],
            "without": [[round(float(value), 6) for value in row] for row in self.without],
            "words_en": self.text("en"),
            "words_zh": self.text("zh"),
        }


_SPREAD = {
    "en": "{genre}: no part decides by itself, it is the whole window",
    "zh": "{genre}：没有哪个部分单独起决定作用，依据来自整个片段",
}
_MOSTLY = {"en": "{genre}: mostly {register} {when}", "zh": "{genre}：主要依据是{when}的{register}"}
_ABOVE_ALL = {
    "en": "{genre}: above all {register} {when}, but other parts too",
    "zh": "{genre}：尤其是{when}的{register}，其他部分也有影响",
}
_BETWEEN = {"en": "between {start} and {end} s", "zh": "第 {start} 至 {end} 秒"}
_THROUGHOUT = {"en": "throughout the window", "zh": "整个片段"}


def require_explainable(plan: ExplainPlan, card: Card, taxonomy: Taxonomy) -> None:
    """Refuse a plan that this model cannot follow; called before the recording is decoded.

    Parameters
    ----------
    plan : ExplainPlan
    card : Card
    taxonomy : Taxonomy
        The one that the plan names.

    Raises
    ------
    InvalidParameter
    """
    if card.features.kind != "cqt_db":
        raise InvalidParameter(
            "explain", "is not possible with this model: only answers from the constant-Q transform are explained"
        )
    labels = [genre.label for genre in taxonomy.genres(plan.level)]
    if plan.genre is not None and plan.genre not in labels:
        raise InvalidParameter("genre", f"must be one of {', '.join(labels)}, not {plan.genre!r}")


def explain_windows(
    plan: ExplainPlan,
    windows_db: Sequence[np.ndarray],
    bounds_seconds: Sequence[tuple[float, float]],
    taxonomy: Taxonomy,
    track: Mapping[int, np.ndarray],
    windows: np.ndarray,
    n_blocks: int,
    probabilities_of: Callable[[list[np.ndarray]], np.ndarray],
) -> tuple[Explanation, ...]:
    """Explain the chosen windows of a recording.

    Parameters
    ----------
    plan : ExplainPlan
    windows_db : sequence of np.ndarray [shape=(84, frames), dtype=float32]
        Every window of the recording.
    bounds_seconds : sequence of (float, float)
        Start and end of each window.
    taxonomy : Taxonomy
        The one that the plan names.
    track : mapping of int to np.ndarray [shape=(level,)]
        Probabilities of the recording at each level of that taxonomy.
    windows : np.ndarray [shape=(n_windows, n_labels)]
        Probabilities of each window.
    n_blocks : int
        Number of time blocks per window.
    probabilities_of : callable
        Runs the network: windows -> probabilities [shape=(n, n_labels)].

    Returns
    -------
    tuple of Explanation
        In the order of time.

    Raises
    ------
    InvalidParameter
        The recording has no such window, or the taxonomy no such level.
    """
    if plan.window is not None and not 0 <= plan.window < len(windows_db):
        raise InvalidParameter("window", f"must be 1 to {len(windows_db)}, not {plan.window + 1}")
    level = taxonomy.level(plan.level)
    genres = taxonomy.genres(level)
    labels = [genre.label for genre in genres]
    place = int(track[level].argmax()) if plan.genre is None else labels.index(plan.genre)
    probabilities = taxonomy.roll_up(windows, level)[:, place]
    explanations = []
    for index in chosen_windows(probabilities, plan):
        copies, shape = quiet_copies(windows_db[index], n_blocks)
        start, end = bounds_seconds[index]
        explanations.append(
            Explanation(
                window=index,
                start_seconds=start,
                end_seconds=end,
                taxonomy=taxonomy.name,
                genre=genres[place],
                probability=float(probabilities[index]),
                without=taxonomy.roll_up(probabilities_of(copies), level)[:, place].reshape(shape),
                spectrogram_db=display_image(windows_db[index]),
            )
        )
    return tuple(explanations)


def quiet_copies(window_db: np.ndarray, n_blocks: int) -> tuple[list[np.ndarray], tuple[int, int]]:
    """Copies of a window, each with one part made as quiet as the quietest tenth of the window.

    Parameters
    ----------
    window_db : np.ndarray [shape=(84, frames), dtype=float32]
        Constant-Q transform in decibels.
    n_blocks : int
        Number of time blocks; fewer if they would be shorter than `MIN_BLOCK_FRAMES`.

    Returns
    -------
    copies : list of np.ndarray [shape=(84, frames)]
        Octave by octave, each from its first block to its last.
    shape : (octaves, blocks)
    """
    n_bins, n_frames = window_db.shape
    n_blocks = max(1, min(n_blocks, n_frames // MIN_BLOCK_FRAMES))
    edges = np.linspace(0, n_frames, n_blocks + 1).astype(int)
    quiet = np.percentile(window_db, QUIET_PERCENTILE).astype(window_db.dtype)
    copies = []
    for low in range(0, n_bins, BINS_PER_OCTAVE):
        for start, end in pairwise(edges):
            copy = window_db.copy()
            part = copy[low : low + BINS_PER_OCTAVE, start:end]
            np.minimum(part, quiet, out=part)
            copies.append(copy)
    return copies, (n_bins // BINS_PER_OCTAVE, n_blocks)


def chosen_windows(probabilities: np.ndarray, plan: ExplainPlan) -> list[int]:
    """Indices of the windows to explain, in the order of time.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_windows,)]
        Of the genre that is explained.
    plan : ExplainPlan
    """
    if plan.window is not None:
        return [plan.window]
    return sorted(np.argsort(-probabilities, kind="stable")[: plan.windows].tolist())


def _log_odds(probability: np.ndarray) -> np.ndarray:
    inside = np.clip(probability, 1e-6, 1.0 - 1e-6)
    return np.asarray(np.log(inside / (1.0 - inside)))


def _shortest_half(weights: np.ndarray) -> tuple[int, int]:
    """The shortest run of blocks with half of the sum: its first block, and the block after its last."""
    sums = np.concatenate([[0.0], np.cumsum(weights)])
    for length in range(1, len(weights) + 1):
        runs = sums[length:] - sums[:-length]
        if runs.max() >= sums[-1] / 2:
            first = int(runs.argmax())
            return first, first + length
    return 0, len(weights)
