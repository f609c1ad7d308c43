"""The difference between two models that answered the same recordings, and how certain it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ccmusic.scoring.classification import accuracy, confusion_matrix, f1_by_class
from ccmusic.scoring.measures import rounded

RESAMPLES = 2000
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class Difference:
    """How much better the second model is than the first.

    Attributes
    ----------
    first, second, difference : float
    low, high : float
        Bounds of the 95 % interval of the difference.
    share_better : float
        Share of the resamples in which the second is better.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    share_better: float

    @property
    def is_clear(self) -> bool:
        """Whether zero is outside the interval."""
        return self.low > 0 or self.high < 0

    def as_json(self) -> dict[str, Any]:
        """Return the fields for a report, with numbers rounded to four places."""
        return rounded(asdict(self))


def paired_bootstrap(
    reference: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    units: np.ndarray,
    *,
    resamples: int = RESAMPLES,
    seed: int = 16,
) -> dict[str, Difference]:
    """Estimate the difference between two models and its confidence interval, by resampling the recordings.

    Source: Efron and Tibshirani, "An introduction to the bootstrap" (1993), percentile interval. The
    units that are drawn are artists where these are known, since recordings of one artist resemble one another.

    Parameters
    ----------
    reference : np.ndarray [shape=(n,), dtype=int]
    first, second : np.ndarray [shape=(n, labels)]
        Probabilities.
    units : np.ndarray [shape=(n,), dtype=int]
        Number of the artist of each recording, from 0; if artists are not known, of the recording.
    resamples : int
    seed : int

    Returns
    -------
    dict of str to Difference
        ``top1`` and ``macro_f1``.
    """
    n_units = int(units.max()) + 1
    tables = [confusion_matrix(reference, probabilities, units) for probabilities in (first, second)]
    draws = np.random.default_rng(seed).multinomial(n_units, np.full(n_units, 1 / n_units), size=resamples)
    resampled = [np.tensordot(draws, table, axes=1) for table in tables]
    wholes = [table.sum(axis=0) for table in tables]
    out = {}
    for name, score in (("top1", accuracy), ("macro_f1", _macro_f1)):
        one, other = (float(score(whole)) for whole in wholes)
        gain = score(resampled[1]) - score(resampled[0])
        low, high = np.percentile(gain, INTERVAL)
        out[name] = Difference(one, other, other - one, float(low), float(high), float(np.mean(gain > 0)))
    return out


def _macro_f1(confusion: np.ndarray) -> np.ndarray:
    return np.asarray(np.nanmean(f1_by_class(confusion), axis=-1))
