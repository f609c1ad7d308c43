"""Classification measures: estimated labels or probabilities against reference labels.

Conventions
-----------
* The reference comes before the estimate.
* ``reference`` holds class numbers, [shape=(n,), dtype=int]; ``probabilities`` is [shape=(n, classes)]. The estimated
  class of a row is the one with the largest probability.
* A confusion matrix has references as rows and estimates as columns, [shape=(..., classes, classes)]; the measures of
  it apply to each matrix of a stack.
* A measure of a class is NaN where it would divide by zero; a mean over classes leaves out the classes without
  references.
"""

from __future__ import annotations

import numpy as np


def validate(reference: np.ndarray, probabilities: np.ndarray) -> None:
    """Check that two arrays can be compared.

    Raises
    ------
    ValueError
        There are no rows, the shapes do not agree, or a reference is not the number of a class.
    """
    if reference.ndim != 1 or probabilities.ndim != 2 or len(reference) != len(probabilities):
        raise ValueError(f"shapes {reference.shape} and {probabilities.shape} must be (n,) and (n, classes)")
    if not len(reference):
        raise ValueError("there is nothing to measure: no rows")
    if reference.min() < 0 or reference.max() >= probabilities.shape[1]:
        raise ValueError(f"references must be from 0 to {probabilities.shape[1] - 1}")


def top_k_accuracy(reference: np.ndarray, probabilities: np.ndarray, k: int = 1) -> float:
    """Share of rows whose reference is among the `k` classes with the largest probabilities."""
    return float(in_top_k(reference, probabilities, k).mean())


def in_top_k(reference: np.ndarray, probabilities: np.ndarray, k: int = 1) -> np.ndarray:
    """Whether the reference of each row is among its `k` most probable classes, [shape=(n,), dtype=bool]."""
    validate(reference, probabilities)
    likeliest = np.argsort(-probabilities, axis=1)[:, :k]
    return np.asarray((likeliest == reference[:, None]).any(axis=1))


def mean_log_loss(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log probability of the reference, in nats; a probability counts as at least 1e-12."""
    validate(reference, probabilities)
    return float(-np.log(np.maximum(probabilities[np.arange(len(reference)), reference], 1e-12)).mean())


def macro_f1(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean F1 over the classes that have references."""
    return float(np.nanmean(f1_by_class(confusion_matrix(reference, probabilities))))


def balanced_accuracy(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean recall over the classes that have references."""
    return float(np.nanmean(recall_by_class(confusion_matrix(reference, probabilities))))


def confusion_matrix(reference: np.ndarray, probabilities: np.ndarray, group: np.ndarray | None = None) -> np.ndarray:
    """Count the rows of each reference and estimate.

    Parameters
    ----------
    reference : np.ndarray [shape=(n,), dtype=int]
    probabilities : np.ndarray [shape=(n, classes)]
    group : np.ndarray [shape=(n,), dtype=int], optional
        Group of each row, from 0: one matrix is counted for each group.

    Returns
    -------
    np.ndarray [shape=(classes, classes) or (groups, classes, classes), dtype=int]
    """
    validate(reference, probabilities)
    n_classes = probabilities.shape[1]
    of_row = np.zeros(len(reference), dtype=int) if group is None else group
    counts = np.zeros((int(of_row.max()) + 1, n_classes, n_classes), dtype=int)
    np.add.at(counts, (of_row, reference, probabilities.argmax(axis=1)), 1)
    return counts[0] if group is None else counts


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of right answers, [shape=(...)]."""
    return np.asarray(np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum(axis=(-2, -1)))


def precision_by_class(confusion: np.ndarray) -> np.ndarray:
    """Of the rows estimated as each class, the share that is right, [shape=(..., classes)]."""
    return _share(_hits(confusion), confusion.sum(axis=-2))


def recall_by_class(confusion: np.ndarray) -> np.ndarray:
    """Of the rows whose reference is each class, the share that is right, [shape=(..., classes)]."""
    return _share(_hits(confusion), confusion.sum(axis=-1))


def f1_by_class(confusion: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall, [shape=(..., classes)]; NaN for a class without references."""
    references, estimates = confusion.sum(axis=-1), confusion.sum(axis=-2)
    return np.where(references > 0, _share(2 * _hits(confusion), references + estimates), np.nan)


def _hits(confusion: np.ndarray) -> np.ndarray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
