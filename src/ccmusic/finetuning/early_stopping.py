"""The loss on the held-out recordings after each epoch, and when to stop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccmusic.finetuning.plan import Plan


@dataclass
class EarlyStopping:
    """The losses of one stage of a run.

    Attributes
    ----------
    losses : list of float
        On the held-out recordings: before the first epoch, and after each.
    """

    losses: list[float]

    @property
    def epochs(self) -> int:
        """Number of epochs so far."""
        return len(self.losses) - 1

    @property
    def best(self) -> int:
        """The first epoch with the lowest loss, counted from 1; 0 if no epoch lowered it."""
        return int(np.argmin(self.losses))

    @property
    def is_best(self) -> bool:
        """Whether the last epoch is the best so far."""
        return self.best == self.epochs

    def is_over(self, plan: Plan) -> bool:
        """Whether the limit of epochs is reached, or no epoch was better for the plan's patience."""
        return self.epochs >= plan.epochs or self.epochs - self.best >= plan.patience


def balanced_log_loss(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean over the classes of their mean negative log-likelihood, in nats.

    Parameters
    ----------
    reference : np.ndarray [shape=(n,), dtype=int]
    probabilities : np.ndarray [shape=(n, labels)]
    """
    losses = -np.log(np.maximum(probabilities[np.arange(len(reference)), reference], 1e-12))
    return float(np.mean([losses[reference == label].mean() for label in np.unique(reference)]))
