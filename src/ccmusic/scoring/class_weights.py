"""Weights that balance classes of different sizes."""

from __future__ import annotations

import numpy as np


def class_weights(labels: np.ndarray, balance: float, n_classes: int) -> np.ndarray:
    """Weigh each class by a power of its inverse frequency.

    With `balance` 1 and no empty class these are the weights "balanced" of scikit-learn.

    Parameters
    ----------
    labels : np.ndarray [shape=(clips,), dtype=int]
        Class of each clip; all known.
    balance : float
        0 gives every clip the same weight, 1 every class.
    n_classes : int

    Returns
    -------
    np.ndarray [shape=(n_classes,)]
        The mean over the clips is 1; a class without clips has the weight 0.
    """
    counts = np.bincount(labels, minlength=n_classes)
    weights = np.where(counts > 0, np.maximum(counts, 1.0) ** -balance, 0.0)
    return np.asarray(weights * len(labels) / max(float((weights * counts).sum()), 1e-9))
