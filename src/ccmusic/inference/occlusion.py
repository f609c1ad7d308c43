"""Why a window got its genre: parts of the spectrogram are silenced one by one, and the network is asked again.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 4.2. No gradient is
needed, so it works for every network that the service can run, and each number is an answer that the network gave.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ccmusic.features.cqt import BINS_PER_OCTAVE, FMIN
from ccmusic.genres import Genre

BLOCKS = 10
"""Into so many stretches a window is parted, each octave by itself."""
DRAWN_BLOCKS = 3
"""Where every part silenced costs a drawing and a large network."""
LEAST_BLOCK_FRAMES = 10
QUIET_PERCENTILE = 10.0
"""A part is made as quiet as the quietest tenth of its window."""
LEAST_EVIDENCE = 0.1
"""Logarithm of the odds; where no part has so much, none is named."""
ABOVE_ALL_SHARE, MOSTLY_SHARE = 0.4, 0.5
"""Of all that speaks for the genre, that a register must have to be named."""
SHORT_SHARE = 0.3
"""Of the window: a time is named where so much of it has half of the register's evidence."""

REGISTERS: tuple[tuple[str, str, int, int], ...] = (
    ("the bass", "低音", 0, 2),
    ("the middle", "中音", 2, 5),
    ("the high notes", "高音", 5, 7),
)
"""In English, in Chinese, and of which octaves from C1: up to 131 Hz, up to 1,047 Hz, above."""


@dataclass(frozen=True, slots=True)
class ExplainPlan:
    """What is to be explained.

    Attributes
    ----------
    windows : int
        At most so many: those that speak most for the genre.
    window : int or None
        This one alone, counted from 0.
    genre : str or None
        Label of the genre; None for the track's likeliest.
    """

    windows: int = 1
    window: int | None = None
    genre: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a window's probability of one genre would be without each part of it.

    Attributes
    ----------
    window : int
        Which, counted from 0.
    start_seconds, end_seconds : float
        Where it lies in the recording.
    genre : Genre
    probability : float
        With all of the window.
    without : np.ndarray [shape=(octaves, blocks), dtype=float64]
        Without the part; the lowest octave first.
    spectrogram_db : np.ndarray [shape=(84, frames), dtype=uint8]
        The window for a picture, as `TrackResult.spectrogram_db`.
    """

    window: int
    start_seconds: float
    end_seconds: float
    genre: Genre
    probability: float
    without: np.ndarray
    spectrogram_db: np.ndarray

    @property
    def evidence(self) -> np.ndarray:
        """By how much each part raises the logarithm of the genre's odds [shape=(octaves, blocks)]."""
        return np.asarray(_log_odds(np.array(self.probability)) - _log_odds(self.without))

    @property
    def edges_seconds(self) -> np.ndarray:
        """Where the blocks begin, and where the last ends, in the recording [shape=(blocks + 1,)]."""
        return np.linspace(self.start_seconds, self.end_seconds, self.without.shape[1] + 1)

    def words(self, language: Literal["en", "zh"] = "en") -> str:
        """Which part speaks most for the genre, in one line."""
        name = self.genre.label_zh if language == "zh" else self.genre.label_en
        evidence = np.maximum(self.evidence, 0.0)
        sums = np.array([evidence[low:high].sum(axis=0) for _, _, low, high in REGISTERS])
        strongest = int(sums.sum(axis=1).argmax())
        share = float(sums[strongest].sum()) / max(float(evidence.sum()), 1e-9)
        if evidence.max() < LEAST_EVIDENCE or share < ABOVE_ALL_SHARE:
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
        """As the HTTP API and the command line give it."""
        return {
            "genre": self.genre.label,
            "probability": round(self.probability, 6),
            "octave_hz": [round(FMIN * 2.0**octave, 2) for octave in range(len(self.without) + 1)],
            "block_seconds": [round(float(edge), 3) for edge in self.edges_seconds],
            "without": [[round(float(value), 6) for value in row] for row in self.without],
            "words_en": self.words("en"),
            "words_zh": self.words("zh"),
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


def silenced(window_db: np.ndarray, n_blocks: int) -> tuple[list[np.ndarray], tuple[int, int]]:
    """Copies of a window, each with one part made quiet.

    Parameters
    ----------
    window_db : np.ndarray [shape=(84, frames), dtype=float32]
        Constant-Q transform in decibels.
    n_blocks : int
        Stretches of time; fewer where they would be shorter than `LEAST_BLOCK_FRAMES`.

    Returns
    -------
    copies : list of np.ndarray [shape=(84, frames)]
        Octave by octave, each from its first block to its last.
    shape : (octaves, blocks)
    """
    n_bins, n_frames = window_db.shape
    n_blocks = max(1, min(n_blocks, n_frames // LEAST_BLOCK_FRAMES))
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
    """Which windows are explained, in the order of time.

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
    """The shortest run, first and after the last, that has half of the sum."""
    sums = np.concatenate([[0.0], np.cumsum(weights)])
    for length in range(1, len(weights) + 1):
        runs = sums[length:] - sums[:-length]
        if runs.max() >= sums[-1] / 2:
            first = int(runs.argmax())
            return first, first + length
    return 0, len(weights)
