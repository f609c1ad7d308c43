"""How a run goes: the loss on the held-out recordings after each pass, and when it is enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccmusic.finetuning.plan import Plan


@dataclass
class EarlyStopping:
    """One stage of a run.

    Attributes
    ----------
    losses : list of float
        On the held-out recordings: before the first pass, and after each.
    """

    losses: list[float]

    @property
    def passes(self) -> int:
        """How many there were."""
        return len(self.losses) - 1

    @property
    def best(self) -> int:
        """The first pass after which the loss was least, counted from 1; 0 if none made it less."""
        return int(np.argmin(self.losses))

    @property
    def is_best(self) -> bool:
        """Whether the last pass is the best so far."""
        return self.best == self.passes

    def is_over(self, plan: Plan) -> bool:
        """Whether there were passes enough, or none has been better for the plan's patience."""
        return self.passes >= plan.epochs or self.passes - self.best >= plan.patience


def balanced_log_loss(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean over the classes of the mean negative log probability of their references, in nats.

    Parameters
    ----------
    reference : np.ndarray [shape=(n,), dtype=int]
    probabilities : np.ndarray [shape=(n, labels)]
    """
    losses = -np.log(np.maximum(probabilities[np.arange(len(reference)), reference], 1e-12))
    return float(np.mean([losses[reference == label].mean() for label in np.unique(reference)]))
