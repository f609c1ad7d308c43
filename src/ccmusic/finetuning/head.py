"""The layer on the embedding: a multinomial logistic regression, fitted epoch by epoch with NumPy only.

Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccmusic.finetuning.early_stopping import EarlyStopping
from ccmusic.finetuning.plan import Plan
from ccmusic.inference.aggregate import softmax

BATCH = 32
LEARNING_RATE = 3e-3
DECAY = 1e-3
"""Strength of the L2 penalty on the standardised embedding's weights."""
MOMENTS = (0.9, 0.999)
LEAST_SCALE = 0.01
"""Smallest standard deviation to divide by: a constant channel must not turn rounding errors into logits."""


@dataclass(frozen=True, eq=False)
class Head:
    """A linear layer: weight [shape=(labels, size)], bias [shape=(labels,)]."""

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        """Logits [shape=(n, labels)] of embeddings [shape=(n, size)]."""
        return np.asarray(embeddings @ self.weight.T + self.bias)


@dataclass(frozen=True, eq=False)
class Examples:
    """The training examples.

    Attributes
    ----------
    embeddings : np.ndarray [shape=(n, size)]
    labels : np.ndarray [shape=(n,), dtype=int]
    weights : np.ndarray [shape=(n,)]
        Weight of each in the loss.
    """

    embeddings: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


@dataclass(eq=False)
class _State:
    """Everything that the next epoch depends on: [weight | bias], current and best, and Adam's two moments."""

    layer: np.ndarray
    first: np.ndarray
    second: np.ndarray
    best: np.ndarray
    steps: int
    stopping: EarlyStopping

    @classmethod
    def fresh(cls, layer: np.ndarray, loss: float) -> _State:
        return cls(layer, np.zeros_like(layer), np.zeros_like(layer), layer.copy(), 0, EarlyStopping([loss]))

    @classmethod
    def read(cls, path: Path) -> _State:
        with np.load(path) as kept:
            layer, first, second, best = (kept[name] for name in ("layer", "first", "second", "best"))
            return cls(layer, first, second, best, int(kept["steps"]), EarlyStopping(kept["losses"].tolist()))

    def write(self, path: Path) -> None:
        partial = path.with_name(f"{path.stem}.part.npz")
        np.savez(partial, layer=self.layer, first=self.first, second=self.second, best=self.best,
                 steps=self.steps, losses=np.array(self.stopping.losses))  # fmt: skip
        partial.replace(path)


def fit_head(
    examples: Examples,
    judge: Callable[[Head], float],
    n_labels: int,
    plan: Plan,
    checkpoint: Path,
    on_epoch: Callable[[EarlyStopping], object] = lambda _: None,
) -> tuple[Head, EarlyStopping]:
    """Fit the layer, and stop when the loss on the held-out recordings no longer falls.

    Parameters
    ----------
    examples : Examples
    judge : callable
        Returns the loss of a head on the held-out recordings.
    n_labels : int
    plan : Plan
    checkpoint : Path
        Written after each epoch; an existing one is resumed.
    on_epoch : callable
        Called after each epoch.

    Returns
    -------
    head : Head
        The best one.
    stopping : EarlyStopping
    """
    mean = examples.embeddings.mean(axis=0)
    scale = np.maximum(examples.embeddings.std(axis=0), LEAST_SCALE)
    inputs = np.column_stack([(examples.embeddings - mean) / scale, np.ones(len(examples.labels))])
    targets = np.eye(n_labels)[examples.labels]

    def unscaled(layer: np.ndarray) -> Head:
        weight = layer[:, :-1] / scale
        return Head(weight, layer[:, -1] - weight @ mean)

    if checkpoint.is_file():
        state = _State.read(checkpoint)
    else:
        zeros = np.zeros((n_labels, len(mean) + 1))
        state = _State.fresh(zeros, judge(unscaled(zeros)))
    while not state.stopping.is_over(plan):
        # seeded by epoch, so that a resumed run draws the same numbers as an uninterrupted one
        order = np.random.default_rng([plan.seed, state.stopping.epochs]).permutation(len(inputs))
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            error = (softmax(inputs[rows] @ state.layer.T) - targets[rows]) * examples.weights[rows, None]
            gradient = error.T @ inputs[rows] / len(rows)
            gradient[:, :-1] += DECAY * state.layer[:, :-1]
            _step(state, gradient)
        state.stopping.losses.append(judge(unscaled(state.layer)))
        if state.stopping.is_best:
            state.best = state.layer.copy()
        state.write(checkpoint)
        on_epoch(state.stopping)
    return unscaled(state.best), state.stopping


def _step(state: _State, gradient: np.ndarray) -> None:
    state.steps += 1
    keep_first, keep_second = MOMENTS
    state.first = keep_first * state.first + (1 - keep_first) * gradient
    state.second = keep_second * state.second + (1 - keep_second) * gradient**2
    first = state.first / (1 - keep_first**state.steps)
    second = state.second / (1 - keep_second**state.steps)
    state.layer = state.layer - LEARNING_RATE * first / (np.sqrt(second) + 1e-8)
