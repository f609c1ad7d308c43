"""The layer on the embedding: a multinomial logistic regression, fitted pass by pass with numpy alone.

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
"""Least standard deviation to divide by: a dead channel must not turn rounding errors into logits."""


@dataclass(frozen=True, eq=False)
class Head:
    """A linear layer: weight [shape=(labels, size)], bias [shape=(labels,)]."""

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        """Of embeddings [shape=(n, size)], [shape=(n, labels)]."""
        return np.asarray(embeddings @ self.weight.T + self.bias)


@dataclass(frozen=True, eq=False)
class Examples:
    """What is learnt from.

    Attributes
    ----------
    embeddings : np.ndarray [shape=(n, size)]
    labels : np.ndarray [shape=(n,), dtype=int]
    weights : np.ndarray [shape=(n,)]
        Of each in the loss.
    """

    embeddings: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


@dataclass(eq=False)
class _State:
    """Everything that the next pass depends on: [weight | bias] now and at its best, and Adam's two moments."""

    layer: np.ndarray
    first: np.ndarray
    second: np.ndarray
    best: np.ndarray
    steps: int
    course: EarlyStopping

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
                 steps=self.steps, losses=np.array(self.course.losses))  # fmt: skip
        partial.replace(path)


def fit_head(
    examples: Examples,
    judge: Callable[[Head], float],
    n_labels: int,
    plan: Plan,
    checkpoint: Path,
    on_pass: Callable[[EarlyStopping], object] = lambda _: None,
) -> tuple[Head, EarlyStopping]:
    """Fit the layer, and stop when it no longer gains on the held-out recordings.

    Parameters
    ----------
    examples : Examples
    judge : callable
        Loss of a head on the held-out recordings.
    n_labels : int
    plan : Plan
    checkpoint : Path
        Written after each pass; one that is there is gone on from.
    on_pass : callable
        Told the course after each pass.

    Returns
    -------
    head : Head
        The best.
    course : EarlyStopping
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
        nothing = np.zeros((n_labels, len(mean) + 1))
        state = _State.fresh(nothing, judge(unscaled(nothing)))
    while not state.course.is_over(plan):
        # of the pass and not of the run, so that a run that is gone on with draws what it would have drawn
        order = np.random.default_rng([plan.seed, state.course.passes]).permutation(len(inputs))
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            error = (softmax(inputs[rows] @ state.layer.T) - targets[rows]) * examples.weights[rows, None]
            gradient = error.T @ inputs[rows] / len(rows)
            gradient[:, :-1] += DECAY * state.layer[:, :-1]
            _step(state, gradient)
        state.course.losses.append(judge(unscaled(state.layer)))
        if state.course.is_best:
            state.best = state.layer.copy()
        state.write(checkpoint)
        on_pass(state.course)
    return unscaled(state.best), state.course


def _step(state: _State, gradient: np.ndarray) -> None:
    state.steps += 1
    keep_first, keep_second = MOMENTS
    state.first = keep_first * state.first + (1 - keep_first) * gradient
    state.second = keep_second * state.second + (1 - keep_second) * gradient**2
    first = state.first / (1 - keep_first**state.steps)
    second = state.second / (1 - keep_second**state.steps)
    state.layer = state.layer - LEARNING_RATE * first / (np.sqrt(second) + 1e-8)
