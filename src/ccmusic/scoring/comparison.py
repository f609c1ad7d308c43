"""Measures of one model on labelled recordings, and of the difference between two.

Conventions: the reference comes before the estimate; a class counts in the mean of F1 if it has references.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ccmusic.scoring.classification import (
    calibration_error_by_chance,
    expected_calibration_error,
    f1_by_class,
    mean_log_loss,
    top_k_accuracy,
)

TOP_K = 5
RESAMPLES = 2000
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class ClassMeasures:
    """One class: how many recordings have it, and how well it is told; None where there is nothing to divide by."""

    label: str
    support: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Measures:
    """One model on some recordings.

    Attributes
    ----------
    recordings : int
    top1, top5, macro_f1 : float
        `top5` is None with five labels or fewer, where it says nothing.
    ece : float
        Mean gap between the largest probability and how often it is right (Guo et al. 2017; 15 bins).
    ece_by_chance, ece_by_chance_high : float
        What a perfectly calibrated model would show on as many recordings: the mean, and what it exceeds once in 20.
    log_loss : float
        In nats.
    coverage, precision : float
        Share of the answers without the flag ``uncertain``, and of these the share that is right (None: all have it).
    classes : tuple of ClassMeasures
    """

    recordings: int
    top1: float
    top5: float | None
    macro_f1: float
    ece: float
    ece_by_chance: float
    ece_by_chance_high: float
    log_loss: float
    coverage: float
    precision: float | None
    classes: tuple[ClassMeasures, ...]

    def as_json(self) -> dict[str, Any]:
        """Rounded to what a reader can use."""
        return rounded(asdict(self))


def measure(
    reference: np.ndarray, probabilities: np.ndarray, uncertain: np.ndarray, labels: tuple[str, ...]
) -> Measures:
    """Measure one model.

    Parameters
    ----------
    reference : np.ndarray [shape=(n,), dtype=int]
        Places in `labels`.
    probabilities : np.ndarray [shape=(n, labels)]
    uncertain : np.ndarray [shape=(n,), dtype=bool]
        Answers that carry the flag.
    labels : tuple of str

    Returns
    -------
    Measures
    """
    estimated = probabilities.argmax(axis=1)
    right = estimated == reference
    f1 = f1_by_class(reference, probabilities)
    by_chance, by_chance_high = calibration_error_by_chance(probabilities)
    return Measures(
        recordings=len(reference),
        top1=float(right.mean()),
        top5=top_k_accuracy(reference, probabilities, TOP_K) if len(labels) > TOP_K else None,
        macro_f1=float(np.nanmean(f1)),
        ece=expected_calibration_error(reference, probabilities),
        ece_by_chance=by_chance,
        ece_by_chance_high=by_chance_high,
        log_loss=mean_log_loss(reference, probabilities),
        coverage=float(np.mean(~uncertain)),
        precision=_share(right[~uncertain]),
        classes=tuple(
            ClassMeasures(
                label,
                int(np.sum(reference == index)),
                _share(right[estimated == index]),
                _share(right[reference == index]),
                None if np.isnan(f1[index]) else float(f1[index]),
            )
            for index, label in enumerate(labels)
        ),
    )


@dataclass(frozen=True)
class Difference:
    """What the second model has over the first.

    Attributes
    ----------
    first, second, difference : float
    low, high : float
        Bounds of the difference's 95 % interval.
    share_better : float
        Of the resamples in which the second is better.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    share_better: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    def as_json(self) -> dict[str, Any]:
        """Rounded to what a reader can use."""
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
    """How sure the difference of two models is, both asked about the same recordings.

    Source: Efron and Tibshirani, "An introduction to the bootstrap" (1993), percentile interval; units and not
    recordings are drawn, since recordings of one artist resemble one another.

    Parameters
    ----------
    reference : np.ndarray [shape=(n,), dtype=int]
    first, second : np.ndarray [shape=(n, labels)]
        Probabilities.
    units : np.ndarray [shape=(n,), dtype=int]
        0 to the number of units less one: artists, or recordings where artists are not known.
    resamples : int
    seed : int

    Returns
    -------
    dict of str to Difference
        ``top1`` and ``macro_f1``.
    """
    n_labels, n_units = first.shape[1], int(units.max()) + 1
    tables = [_tables(reference, p.argmax(axis=1), units, n_labels) for p in (first, second)]
    draws = np.random.default_rng(seed).multinomial(n_units, np.full(n_units, 1 / n_units), size=resamples)
    resampled = [(draws @ table.reshape(n_units, -1)).reshape(-1, n_labels, n_labels) for table in tables]
    wholes = [table.sum(axis=0, keepdims=True) for table in tables]
    out = {}
    for name, score in _SCORES.items():
        one, other = (float(score(whole)[0]) for whole in wholes)
        gain = score(resampled[1]) - score(resampled[0])
        low, high = np.percentile(gain, INTERVAL)
        out[name] = Difference(one, other, other - one, float(low), float(high), float(np.mean(gain > 0)))
    return out


def _tables(reference: np.ndarray, estimated: np.ndarray, units: np.ndarray, n_labels: int) -> np.ndarray:
    """Confusion of each unit, [shape=(units, labels, labels)]."""
    tables = np.zeros((int(units.max()) + 1, n_labels, n_labels), dtype=np.int32)
    np.add.at(tables, (units, reference, estimated), 1)
    return tables


def _accuracy(tables: np.ndarray) -> np.ndarray:
    return np.asarray(np.trace(tables, axis1=1, axis2=2) / tables.sum(axis=(1, 2)))


def _macro_f1(tables: np.ndarray) -> np.ndarray:
    """Mean over the classes that have references in each table, as `f1_by_class` does."""
    hits = np.diagonal(tables, axis1=1, axis2=2)
    references, estimates = tables.sum(axis=2), tables.sum(axis=1)
    f1 = 2 * hits / np.maximum(references + estimates, 1)
    return np.asarray((f1 * (references > 0)).sum(axis=1) / (references > 0).sum(axis=1))


_SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"top1": _accuracy, "macro_f1": _macro_f1}


def _share(right: np.ndarray) -> float | None:
    return float(right.mean()) if len(right) else None


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Every number in a JSON-ready record, to four places."""

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return rounded(value)
        if isinstance(value, (list, tuple)):
            return [short(item) for item in value]
        return round(value, 4) if isinstance(value, float) else value

    return {name: short(value) for name, value in values.items()}
