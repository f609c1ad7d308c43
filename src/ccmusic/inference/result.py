"""The answer of the pipeline as frozen records; `TrackResult.as_json` is the only place that makes JSON of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ccmusic.errors import InvalidParameter
from ccmusic.genres import CCMUSIC, Genre, Taxonomy
from ccmusic.inference.occlusion import Explanation

FLAGS: tuple[str, ...] = ("silence", "too_short", "uncertain", "truncated", "out_of_phase")
"""Every flag that an answer may have."""

DEFAULT_TOP_K = 5

STAGES: tuple[str, ...] = ("queue", "decode", "resample", "features", "inference")
"""Every stage that an answer may have a time for."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The model that gave an answer."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """A genre or group of genres, and its probability."""

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
    """The `top_k` likeliest groups (all if None), likeliest first; ties keep the order of the taxonomy."""
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    return tuple(
        Prediction(genres[i].label, genres[i].label_zh, genres[i].label_en, float(probabilities[i])) for i in order
    )


@dataclass(frozen=True, slots=True)
class Window:
    """A window of the recording and the probabilities of the genres in it.

    Attributes
    ----------
    start_seconds, end_seconds : float
        Position in the recording.
    probabilities : np.ndarray [shape=(n_labels,), dtype=float64]
        Calibrated, in the order of the taxonomy's labels.
    """

    start_seconds: float
    end_seconds: float
    probabilities: np.ndarray


@dataclass(frozen=True, slots=True)
class HeadResult:
    """The answer of one of the network's further outputs for the same recording.

    Attributes
    ----------
    taxonomy : Taxonomy
    probabilities : dict of int to np.ndarray [shape=(level,)]
        Of the track, at each level of this taxonomy.
    windows : np.ndarray [shape=(n_windows, n_labels), dtype=float64]
        Of each window.
    flags : tuple of str
        Some of `FLAGS`; ``uncertain`` follows this output's own threshold.
    """

    taxonomy: Taxonomy
    probabilities: dict[int, np.ndarray]
    windows: np.ndarray
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrackResult:
    """The answer for one recording in the model's own labels.

    Attributes
    ----------
    model : ModelIdentity
    duration_seconds : float
        Length of the analysed part.
    probabilities : dict of int to np.ndarray [shape=(level,)]
        Probabilities at each level of `taxonomy`, in the order of ``taxonomy.genres(level)``.
    windows : tuple of Window
    flags : tuple of str
        Some of `FLAGS`.
    timings : dict of str to float
        Seconds by stage, keys from `STAGES`.
    spectrogram_db : np.ndarray or None [shape=(84, columns), dtype=uint8]
        Image of the CQT (`ccmusic.features.display`): 0 is 80 dB below the maximum, 255 the maximum; row 0 is the
        lowest note. Only if requested.
    taxonomy : Taxonomy
        The taxonomy of `probabilities`.
    sure_level : int or None
        The finest level whose likeliest group reaches the card's threshold, 0 if none does; None if the card has no
        thresholds.
    heads : tuple of HeadResult
        The answers of the network's further outputs.
    level_dbfs, bandwidth_hz : float or None
        See `ccmusic.inference.level_and_bandwidth`; None if not measured.
    explanations : tuple of Explanation
        Of some windows; only if requested.
    odd : str or None
        What the recording seems to be instead of music: ``silence``, or a kind of `ccmusic.inference.non_music`. The
        answer then has the flag ``uncertain``.
    embedding : np.ndarray or None [shape=(256,), dtype=float16]
        Identity of the recording (`ccmusic.inference.acoustic_identity`). Only if requested; None for what is odd, too
        short or too steady.
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
    heads: tuple[HeadResult, ...] = ()
    level_dbfs: float | None = None
    bandwidth_hz: float | None = None
    odd: str | None = None
    explanations: tuple[Explanation, ...] = ()
    embedding: np.ndarray | None = None

    @property
    def taxonomies(self) -> tuple[Taxonomy, ...]:
        """Every taxonomy that `under` accepts; the one of this answer first."""
        return (self.taxonomy, *(head.taxonomy for head in self.heads))

    @property
    def leaves(self) -> np.ndarray:
        """Probabilities of the taxonomy's finest level [shape=(n_labels,)]."""
        return self.probabilities[self.taxonomy.level()]

    def under(self, taxonomy: str | None) -> TrackResult:
        """The same answer in another taxonomy; this answer if the taxonomy is None or its own.

        Parameters
        ----------
        taxonomy : str or None
            Its name.

        Returns
        -------
        TrackResult
            Without `heads`.

        Raises
        ------
        InvalidParameter
            The model does not have this taxonomy; the text names those that it has.
        """
        chosen = chosen_taxonomy(taxonomy, self.taxonomies)
        for head in self.heads:
            if head.taxonomy == chosen:
                pairs = zip(self.windows, head.windows, strict=True)
                return replace(
                    self,
                    taxonomy=chosen,
                    probabilities=head.probabilities,
                    windows=tuple(replace(window, probabilities=row) for window, row in pairs),
                    flags=head.flags,
                    sure_level=None,
                    heads=(),
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
        """The answer as the HTTP API and the command line return it (docs/contract.md, section 4).

        Parameters
        ----------
        taxonomy : str, optional
            Name of the taxonomy; the model's own labels by default.
        level : int, optional
            Level of the track's and the windows' ``predictions``; the finest by default.
        top_k : int, optional
            Largest number of predictions of the track and of each window; see `chosen_top_k`. ``levels`` is always
            complete.
        request_id : str, optional
            Added to the answer if given.

        Returns
        -------
        dict
            Ready for `json.dumps`.

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
        for explanation in (found for found in self.explanations if found.taxonomy == genres.name):
            answer["windows"][explanation.window]["saliency"] = explanation.as_json()
        if request_id is not None:
            answer["request_id"] = request_id
        return answer


def chosen_taxonomy(requested: str | None, offered: Sequence[Taxonomy]) -> Taxonomy:
    """The taxonomy with the requested name; the first if the name is None.

    Raises
    ------
    InvalidParameter
        It is not offered; the text names those that are offered.
    """
    for taxonomy in offered:
        if requested in (None, taxonomy.name):
            return taxonomy
    names = ", ".join(taxonomy.name for taxonomy in offered)
    raise InvalidParameter(
        "taxonomy", f"must be {names if len(offered) == 1 else f'one of {names}'}, not {requested!r}"
    )


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
