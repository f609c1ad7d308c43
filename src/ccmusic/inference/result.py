"""What the pipeline answers: plain frozen records, turned into JSON in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ccmusic.errors import InvalidParameter
from ccmusic.genres import CCMUSIC, Genre, Taxonomy
from ccmusic.inference.occlusion import Explanation

FLAGS: tuple[str, ...] = ("silence", "too_short", "uncertain", "truncated")
"""The closed set of flags an answer may carry."""

ODDITIES: tuple[str, ...] = ("silence", "empty", "tone", "pulses", "noise", "speech")
"""The closed set of what a recording may be taken for instead of music; `empty` sounds outside the range of the
constant-Q transform at most, `pulses` are clicks, beeps or drums alone."""

DEFAULT_TOP_K = 5

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
    """One stretch of the recording and the probabilities of the genres in it.

    Attributes
    ----------
    start_seconds, end_seconds : float
        Where it lies in the recording.
    probabilities : np.ndarray [shape=(n_labels,), dtype=float64]
        Calibrated, in the order of the taxonomy's labels.
    """

    start_seconds: float
    end_seconds: float
    probabilities: np.ndarray


@dataclass(frozen=True, slots=True)
class Reading:
    """The same recording as one of the network's further outputs names it.

    Attributes
    ----------
    taxonomy : Taxonomy
    probabilities : dict of int to np.ndarray [shape=(level,)]
        Of the track, by level of this taxonomy.
    windows : np.ndarray [shape=(n_windows, n_labels), dtype=float64]
        Of each window.
    flags : tuple of str
        Some of `FLAGS`; ``uncertain`` is this output's own.
    """

    taxonomy: Taxonomy
    probabilities: dict[int, np.ndarray]
    windows: np.ndarray
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrackResult:
    """The answer for one recording, as the network's own labels name it.

    Attributes
    ----------
    model : ModelIdentity
    duration_seconds : float
        Length of what was listened to.
    probabilities : dict of int to np.ndarray [shape=(level,)]
        Probabilities at each level of `taxonomy`, in the order of ``taxonomy.genres(level)``.
    windows : tuple of Window
    flags : tuple of str
        Some of `FLAGS`.
    timings : dict of str to float
        Seconds by stage, keys from `STAGES`.
    spectrogram_db : np.ndarray or None [shape=(84, columns), dtype=uint8]
        The CQT for a picture, at most `pipeline.PICTURE_COLUMNS` wide: 0 is 80 dB below the loudest, 255 the loudest;
        row 0 the lowest note. Only when asked for.
    taxonomy : Taxonomy
        What the probabilities are of.
    sure_level : int or None
        The finest level that the answer is sure of, 0 when it is of none; None when the model does not say.
    readings : tuple of Reading
        By the network's further outputs.
    level_dbfs, bandwidth_hz : float or None
        As `ccmusic.inference.level_and_bandwidth` has them; None when they were not measured.
    explanations : tuple of Explanation
        Of some windows, only when asked for.
    odd : str or None
        One of `ODDITIES` when this seems to be no music; the answer then has the flag ``uncertain``.
    """

    model: ModelIdentity
    duration_seconds: float
    probabilities: dict[int, np.ndarray]
    windows: tuple[Window, ...]
    flags: tuple[str, ...]
    timings: dict[str, float] = field(default_factory=dict)
    spectrogram_db: np.ndarray | None = None
    taxonomy: Taxonomy = CCMUSIC
    sure_level: int | None = None
    readings: tuple[Reading, ...] = ()
    level_dbfs: float | None = None
    bandwidth_hz: float | None = None
    odd: str | None = None
    explanations: tuple[Explanation, ...] = ()

    @property
    def taxonomies(self) -> tuple[Taxonomy, ...]:
        """Every taxonomy that `under` has an answer for, the one of this answer first."""
        return (self.taxonomy, *(reading.taxonomy for reading in self.readings))

    @property
    def leaves(self) -> np.ndarray:
        """Probabilities of the taxonomy's finest level [shape=(n_labels,)]."""
        return self.probabilities[self.taxonomy.level()]

    def under(self, taxonomy: str | None) -> TrackResult:
        """The same answer in the genres of another taxonomy; this one when none, or its own, is asked for.

        Parameters
        ----------
        taxonomy : str or None
            Its name.

        Returns
        -------
        TrackResult
            Without further readings.

        Raises
        ------
        InvalidParameter
            The model has no such output; the text names those that it has.
        """
        chosen = chosen_taxonomy(taxonomy, self.taxonomies)
        for reading in self.readings:
            if reading.taxonomy == chosen:
                pairs = zip(self.windows, reading.windows, strict=True)
                return replace(
                    self,
                    taxonomy=chosen,
                    probabilities=reading.probabilities,
                    windows=tuple(replace(window, probabilities=row) for window, row in pairs),
                    flags=reading.flags,
                    sure_level=None,
                    readings=(),
                )
        return self

    def predictions(self, level: int | None = None, top_k: int | None = None) -> tuple[Prediction, ...]:
        """The `top_k` likeliest groups at a level of the taxonomy, the finest by default, likeliest first."""
        level = self.taxonomy.level(level)
        return rank(self.probabilities[level], self.taxonomy.genres(level), top_k)

    def as_json(
        self,
        *,
        taxonomy: str | None = None,
        level: int | None = None,
        top_k: int | None = None,
        request_id: str | None = None,
    ) -> dict[str, Any]:
        """The answer as the HTTP API and the command line give it (docs/contract.md, section 4).

        Parameters
        ----------
        taxonomy : str, optional
            Whose genres; the model's own labels by default.
        level : int, optional
            Level of ``predictions`` and of the windows' predictions; the taxonomy's finest by default.
        top_k : int, optional
            Largest number of predictions of the track and of each window; see `chosen_top_k`. ``levels`` is always
            complete.
        request_id : str, optional
            Repeated in the answer when given.

        Returns
        -------
        dict
            JSON-ready.

        Raises
        ------
        InvalidParameter
            No such taxonomy, no such level of it, or `top_k` is not between 1 and the number of its labels.
        """
        of = self.under(taxonomy)
        genres, level = of.taxonomy, of.taxonomy.level(level)
        top_k = chosen_top_k(top_k, genres)
        answer: dict[str, Any] = {
            "model": {"name": self.model.name, "version": self.model.version, "sha256": self.model.sha256},
            "duration_seconds": round(self.duration_seconds, 3),
            "taxonomy": genres.name,
            "level": level,
            "predictions": [p.as_json() for p in of.predictions(level, top_k)],
            "levels": {str(lvl): [p.as_json() for p in of.predictions(lvl)] for lvl in genres.sizes},
            "windows": [
                {
                    "start_seconds": round(w.start_seconds, 3),
                    "end_seconds": round(w.end_seconds, 3),
                    "predictions": [
                        p.as_json() for p in rank(genres.roll_up(w.probabilities, level), genres.genres(level), top_k)
                    ],
                }
                for w in of.windows
            ],
            "flags": list(of.flags),
            "odd": self.odd,
            "timings": {stage: round(seconds, 6) for stage, seconds in self.timings.items()},
        }
        if of.sure_level is not None:
            answer["sure_level"] = of.sure_level or None
        for explanation in self.explanations:
            answer["windows"][explanation.window]["saliency"] = explanation.as_json()
        if request_id is not None:
            answer["request_id"] = request_id
        return answer


def chosen_taxonomy(asked: str | None, offered: Sequence[Taxonomy]) -> Taxonomy:
    """The taxonomy that is asked for by name; the first when none is.

    Raises
    ------
    InvalidParameter
        It is not offered; the text names those that are.
    """
    for taxonomy in offered:
        if asked in (None, taxonomy.name):
            return taxonomy
    names = ", ".join(taxonomy.name for taxonomy in offered)
    raise InvalidParameter("taxonomy", f"must be {names if len(offered) == 1 else f'one of {names}'}, not {asked!r}")


def chosen_top_k(requested: int | None, taxonomy: Taxonomy, name: str = "top_k") -> int:
    """How many predictions to return: the requested number, or 5, or all labels of a taxonomy that has fewer.

    Parameters
    ----------
    requested : int or None
    taxonomy : Taxonomy
        Its number of labels is the upper bound.
    name : str
        The parameter as the caller spells it, for the error message.

    Raises
    ------
    InvalidParameter
        The number is not between 1 and the number of labels.
    """
    n_labels = len(taxonomy.labels)
    if requested is None:
        return min(DEFAULT_TOP_K, n_labels)
    if not 1 <= requested <= n_labels:
        raise InvalidParameter(name, f"must be 1 to {n_labels}, not {requested}")
    return requested
