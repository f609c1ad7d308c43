"""Everything that is measured of one model on labelled recordings, in one record."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ccmusic.scoring.calibration import calibration_error_by_chance, expected_calibration_error
from ccmusic.scoring.classification import (
    confusion_matrix,
    f1_by_class,
    mean_log_loss,
    precision_by_class,
    recall_by_class,
    top_k_accuracy,
)

TOP_K = 5


@dataclass(frozen=True)
class ClassMeasures:
    """Measures of one class; `support` counts its recordings, and a measure that would divide by zero is None."""

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
        `top5` is None with five labels or fewer, where it would always be 1.
    ece : float
        Mean gap between the largest probability and how often it is right (Guo et al. 2017; 15 bins).
    ece_by_chance, ece_by_chance_high : float
        Error that a perfectly calibrated model would show on this number of recordings: mean and 95th percentile.
    log_loss : float
        In nats.
    coverage, precision : float
        Share of the answers without the flag ``uncertain``, and of these the share that is right (None if there are
        none).
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
        """Return the fields for a report, with numbers rounded to four places."""
        return rounded(asdict(self))


def measure(
    reference: np.ndarray, probabilities: np.ndarray, uncertain: np.ndarray, labels: tuple[str, ...]
) -> Measures:
    """Measure one model.

    Parameters
    ----------
    reference : np.ndarray [shape=(n,), dtype=int]
        Indices in `labels`.
    probabilities : np.ndarray [shape=(n, labels)]
    uncertain : np.ndarray [shape=(n,), dtype=bool]
        Whether each answer has the flag.
    labels : tuple of str

    Returns
    -------
    Measures
    """
    right = probabilities.argmax(axis=1) == reference
    confusion = confusion_matrix(reference, probabilities)
    f1 = f1_by_class(confusion)
    by_class = zip(precision_by_class(confusion), recall_by_class(confusion), f1, strict=True)
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
        precision=None if uncertain.all() else float(right[~uncertain].mean()),
        classes=tuple(
            ClassMeasures(label, int(support), *(None if np.isnan(value) else float(value) for value in values))
            for label, support, values in zip(labels, confusion.sum(axis=1), by_class, strict=True)
        ),
    )


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Round every number in a JSON-ready record to four places."""

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return rounded(value)
        if isinstance(value, (list, tuple)):
            return [short(item) for item in value]
        return round(value, 4) if isinstance(value, float) else value

    return {name: short(value) for name, value in values.items()}
