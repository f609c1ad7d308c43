"""Linear layers fitted on embeddings: logistic regressions on labels, and one on soft targets.

Conventions: a layer is fitted on standardised embeddings, and returned for embeddings that are not standardised. Its
weights and its bias have mean 0 over the classes, which does not change the softmax.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ccmusic.genres import LABELS
from ccmusic.scoring.class_weights import class_weights
from ccmusic.training.teachers import regression

BALANCE = 0.5
"""Exponent of the inverse class frequency, as in the label loss."""
LEAST_SCALE = 0.01
"""Least standard deviation to divide by, so that a channel that is constant does not turn rounding errors into
logits."""
UNSEEN_LOGIT = -8.0
"""Bias of a class without a training clip, before centring."""
SOFT_PENALTY = 3e-4

Layer = tuple[np.ndarray, np.ndarray]
"""Weight [shape=(classes, size)] and bias [shape=(classes,)]."""


def fit_layer(embedded: np.ndarray, labels: np.ndarray, c: float, share: float = 1.0) -> Layer:
    """Fit a logistic regression for the 16 genres, balanced over the classes.

    Parameters
    ----------
    embedded : np.ndarray [shape=(n, size)]
    labels : np.ndarray [shape=(n,)]
        Indices in `LABELS`.
    c : float
        Inverse strength of the L2 penalty.
    share : float
        Weight of each row; below 1 if several rows are crops of one clip.

    Returns
    -------
    weight : np.ndarray [shape=(16, size)]
    bias : np.ndarray [shape=(16,)]
    """
    mean, scale = _mean_and_scale(embedded)
    weights = class_weights(labels, BALANCE, len(LABELS))[labels] * share
    fitted = regression(c).fit((embedded - mean) / scale, labels, sample_weight=weights)
    weight, bias = np.zeros((len(LABELS), embedded.shape[1])), np.full(len(LABELS), UNSEEN_LOGIT)
    weight[fitted.classes_] = fitted.coef_ / scale
    bias[fitted.classes_] = fitted.intercept_ - fitted.coef_ @ (mean / scale)
    return weight - weight.mean(axis=0), bias - bias.mean()


def fit_soft_layer(embedded: np.ndarray, targets: np.ndarray) -> Layer:
    """Fit a linear layer to soft targets by their cross-entropy, balanced over the classes.

    Parameters
    ----------
    embedded : np.ndarray [shape=(n, size)]
    targets : np.ndarray [shape=(n, classes)]
        Rows sum to 1.

    Returns
    -------
    weight : np.ndarray [shape=(classes, size)]
    bias : np.ndarray [shape=(classes,)]
    """
    mean, scale = _mean_and_scale(embedded)
    count = targets.sum(axis=0)
    balance = 1 / np.maximum(count, 1) ** BALANCE
    weights = targets @ (balance / ((balance * count).sum() / count.sum()))
    inputs, wanted, each = (
        torch.from_numpy(np.asarray(x, dtype=np.float32)) for x in ((embedded - mean) / scale, targets, weights)
    )
    weight = torch.zeros(targets.shape[1], embedded.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=80, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        entropy = -(wanted * torch.log_softmax(inputs @ weight.T + bias, dim=1)).sum(dim=1)
        total = (each * entropy).sum() / each.sum() + SOFT_PENALTY * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    found = weight.detach().numpy() / scale
    shift = bias.detach().numpy() - found @ mean
    return found - found.mean(axis=0), shift - shift.mean()


def side_by_side(layers: Sequence[Layer]) -> Layer:
    """Join layers to one on all their embeddings, side by side; its logits are the mean of their logits."""
    weights, biases = zip(*layers, strict=True)
    return np.concatenate(weights, axis=1) / len(layers), np.mean(biases, axis=0)


def _mean_and_scale(embedded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return embedded.mean(axis=0), np.maximum(embedded.std(axis=0), LEAST_SCALE)
