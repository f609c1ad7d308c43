"""What the pipeline answers: plain frozen records, turned into JSON in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ccmusic.genres import GENRES, LEVELS, Genre, roll_up

FLAGS: tuple[str, ...] = ("silence", "too_short", "uncertain", "truncated")
"""The closed set of flags an answer may carry."""

STAGES: tuple[str, ...] = ("queue", "decode", "resample", "features", "inference")
"""The closed set of stages that an answer gives times for."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model answered."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """One genre, or group of genres, and its probability."""

    genre: str
    label_zh: str
    label_en: str
    probability: float

    def as_json(self) -> dict[str, Any]:
        return {
            "genre": self.genre,
            "label_zh": self.label_zh,
            "label_en": self.label_en,
            "probability": round(self.probability, 6),
        }


def rank(probabilities: np.ndarray, genres: tuple[Genre, ...], top_k: int | None = None) -> tuple[Prediction, ...]:
    """The `top_k` likeliest groups (all when None), likeliest first; ties keep the order of the taxonomy."""
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    return tuple(
        Prediction(genres[i].label, genres[i].label_zh, genres[i].label_en, float(probabilities[i])) for i in order
    )


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of the recording and the probabilities of the 16 genres in it.

    Attributes
    ----------
    start_seconds, end_seconds : float
        Where it lies in the recording.
    probabilities : np.ndarray [shape=(16,), dtype=float64]
        Calibrated, in the order of `ccmusic.genres.LABELS`.
    """

    start_seconds: float
    end_seconds: float
    probabilities: np.ndarray


@dataclass(frozen=True, slots=True)
class TrackResult:
    """The answer for one recording.

    Attributes
    ----------
    model : ModelIdentity
    duration_seconds : float
        Length of what was listened to.
    probabilities : dict of int to np.ndarray [shape=(level,)]
        Probabilities at levels 16, 9 and 2, in the order of ``GENRES[level]``.
    windows : tuple of Window
    flags : tuple of str
        Some of `FLAGS`.
    timings : dict of str to float
        Seconds by stage, keys from `STAGES`.
    spectrogram_db : np.ndarray or None [shape=(84, columns), dtype=uint8]
        The CQT for a picture, at most `pipeline.PICTURE_COLUMNS` wide: 0 is 80 dB below the loudest, 255 the loudest;
        row 0 the lowest note. Only when asked for.
    """

    model: ModelIdentity
    duration_seconds: float
    probabilities: dict[int, np.ndarray]
    windows: tuple[Window, ...]
    flags: tuple[str, ...]
    timings: dict[str, float] = field(default_factory=dict)
    spectrogram_db: np.ndarray | None = None

    def predictions(self, level: int = 16, top_k: int | None = None) -> tuple[Prediction, ...]:
        """The `top_k` likeliest groups at a level of the taxonomy, likeliest first."""
        return rank(self.probabilities[level], GENRES[level], top_k)

    def as_json(self, *, level: int = 16, top_k: int = 5, request_id: str | None = None) -> dict[str, Any]:
        """The answer as the HTTP API and the command line give it (contract, section 4).

        Parameters
        ----------
        level : int
            Level of ``predictions`` and of the windows' predictions: 16, 9 or 2.
        top_k : int
            How many predictions the track and each window have at most; ``levels`` is always complete.
        request_id : str, optional
            Repeated in the answer when given.

        Returns
        -------
        dict
            JSON-ready.
        """
        answer: dict[str, Any] = {
            "model": {"name": self.model.name, "version": self.model.version, "sha256": self.model.sha256},
            "duration_seconds": round(self.duration_seconds, 3),
            "level": level,
            "predictions": [p.as_json() for p in self.predictions(level, top_k)],
            "levels": {str(lvl): [p.as_json() for p in self.predictions(lvl)] for lvl in LEVELS},
            "windows": [
                {
                    "start_seconds": round(w.start_seconds, 3),
                    "end_seconds": round(w.end_seconds, 3),
                    "predictions": [p.as_json() for p in rank(roll_up(w.probabilities, level), GENRES[level], top_k)],
                }
                for w in self.windows
            ],
            "flags": list(self.flags),
            "timings": {stage: round(seconds, 6) for stage, seconds in self.timings.items()},
        }
        if request_id is not None:
            answer["request_id"] = request_id
        return answer
