"""What names the genres: linear layers on the finished embeddings, fitted after the networks are trained.

The heads that are distilled while a network is trained do not ship: logistic regressions on the embeddings did better
in most of the families that were tried, and as well as a blend of both (docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ccmusic.genres import LABELS
from ccmusic.scoring.class_weights import class_weights
from ccmusic.training.configuration import RECORDINGS, SHORT
from ccmusic.training.crossval import OutOfFold
from ccmusic.training.data import Dataset
from ccmusic.training.distil import fit_regression
from ccmusic.training.members import LONG_SECONDS, SHORT_SECONDS, embeddings
from ccmusic.training.network import EMBEDDING_SIZE
from ccmusic.training.predict import CROPS_PER_CLIP, WHOLE_SECONDS
from ccmusic.training.world import WorldLabels, fit_world_head, soft_world_targets

RECORDINGS_C, SHORT_C = 0.01, 0.003
"""Inverse strength of the L2 penalty on standardised embeddings."""
BALANCE = 0.5
"""Exponent of the inverse class frequency, as in the label loss."""
LEAST_SCALE = 0.01
"""Least standard deviation to divide by: a dead channel must not turn rounding errors into logits."""
UNSEEN_LOGIT = -8.0
"""Before centring, for a class without a training clip."""

Layer = tuple[np.ndarray, np.ndarray]
"""Weight [shape=(16, size)] and bias [shape=(16,)]."""


def fit_layer(embedded: np.ndarray, labels: np.ndarray, c: float, share: float = 1.0) -> Layer:
    """Fit a logistic regression, balanced over the classes, as a layer on embeddings that are not standardised.

    Parameters
    ----------
    embedded : np.ndarray [shape=(n, size)]
    labels : np.ndarray [shape=(n,)]
        Indices in `LABELS`.
    c : float
        Inverse strength of the L2 penalty.
    share : float
        Weight of each row, where several rows are crops of one clip.

    Returns
    -------
    weight : np.ndarray [shape=(16, size)]
    bias : np.ndarray [shape=(16,)]
        Both have mean 0 over the classes.
    """
    mean, scale = embedded.mean(axis=0), np.maximum(embedded.std(axis=0), LEAST_SCALE)
    weights = class_weights(labels, BALANCE, len(LABELS))[labels] * share
    regression = fit_regression((embedded - mean) / scale, labels, c, weights)
    weight, bias = np.zeros((len(LABELS), embedded.shape[1])), np.full(len(LABELS), UNSEEN_LOGIT)
    weight[regression.classes_] = regression.coef_ / scale
    bias[regression.classes_] = regression.intercept_ - regression.coef_ @ (mean / scale)
    return weight - weight.mean(axis=0), bias - bias.mean()


def side_by_side(layers: Sequence[Layer]) -> Layer:
    """Mean of the logits of layers on one embedding each, as a layer on all of them side by side."""
    weights, biases = zip(*layers, strict=True)
    return np.concatenate(weights, axis=1) / len(layers), np.mean(biases, axis=0)


def recordings_layer(work: Path, dataset: Dataset, fold: int | None) -> Layer:
    """The 16 genres of recordings: a regression on each network's mean embedding of its labelled training clips."""
    rows, _ = dataset.split(fold)
    rows = rows[dataset.label[rows] >= 0]
    return side_by_side([
        fit_layer(
            np.nanmean(embeddings(work, [name], fold, WHOLE_SECONDS)[rows], axis=1), dataset.label[rows], RECORDINGS_C
        )
        for name in RECORDINGS
    ])  # fmt: skip


def _crops(work: Path, name: str, fold: int | None, rows: np.ndarray) -> np.ndarray:
    """Embeddings of every short crop of some clips, [shape=(lengths * clips * crops, EMBEDDING_SIZE)]."""
    return np.concatenate(
        [embeddings(work, [name], fold, seconds)[rows].reshape(-1, EMBEDDING_SIZE) for seconds in SHORT_SECONDS]
    )


def short_layer(work: Path, dataset: Dataset, fold: int | None) -> Layer:
    """The 16 genres of sounds up to 1.5 s: a regression on crops of every such length."""
    rows, _ = dataset.split(fold)
    rows = rows[dataset.label[rows] >= 0]
    labels = np.tile(np.repeat(dataset.label[rows], CROPS_PER_CLIP), len(SHORT_SECONDS))
    # a clip counts once, however many crops it gives
    share = 1 / (CROPS_PER_CLIP * len(SHORT_SECONDS))
    return side_by_side([
        fit_layer(_crops(work, name, fold, rows), labels, SHORT_C, share) for name in SHORT
    ])  # fmt: skip


def world_layers(work: Path, dataset: Dataset, labels: WorldLabels, fold: int | None) -> tuple[Layer, Layer]:
    """The world genres of recordings, and of sounds up to 1.5 s.

    Returns
    -------
    recordings, short : tuple of np.ndarray
        On the embeddings of all networks for either, side by side.
    """
    rows, _ = dataset.split(fold)
    targets = soft_world_targets(dataset, labels, rows)[rows]
    recordings = [
        fit_world_head(np.nanmean(embeddings(work, [name], fold, WHOLE_SECONDS)[rows], axis=1), targets)
        for name in RECORDINGS
    ]
    repeated = np.tile(np.repeat(targets, CROPS_PER_CLIP, axis=0), (len(SHORT_SECONDS), 1))
    short = [fit_world_head(_crops(work, name, fold, rows), repeated) for name in SHORT]
    return side_by_side(recordings), side_by_side(short)


def asked(
    work: Path, fold: int | None, rows: np.ndarray, seconds: float, recordings: Layer, short: Layer
) -> np.ndarray:
    """Logits of clips for recordings of one length, as the shipped graph would give them.

    Parameters
    ----------
    work : Path
    fold : int or None
        The fold that the networks have not seen.
    rows : np.ndarray [shape=(n,)]
        Clips.
    seconds : float
        Length of the recordings.
    recordings, short : tuple of np.ndarray
        The layers.

    Returns
    -------
    np.ndarray [shape=(n, recordings per clip, windows, 16), dtype=float32]
        NaN where a clip has fewer windows.
    """
    members, (weight, bias) = (SHORT, short) if seconds in SHORT_SECONDS else (RECORDINGS, recordings)
    heard = embeddings(work, tuple(members), fold, seconds)[rows]
    logits = np.asarray(heard @ weight.T + bias, dtype=np.float32)
    return logits[:, None] if seconds == WHOLE_SECONDS else logits[:, :, None]


def out_of_fold(work: Path, dataset: Dataset, folds: Sequence[int]) -> OutOfFold:
    """Logits of every clip of which something is known, by networks and layers that have not seen its fold."""
    lengths = (*SHORT_SECONDS, *LONG_SECONDS, WHOLE_SECONDS)
    parts: dict[float, list[np.ndarray]] = {seconds: [] for seconds in lengths}
    rows = []
    for fold in folds:
        _, test = dataset.split(fold)
        rows.append(test[~dataset.allowed[test].all(axis=1)])
        layers = recordings_layer(work, dataset, fold), short_layer(work, dataset, fold)
        for seconds in lengths:
            parts[seconds].append(asked(work, fold, rows[-1], seconds, *layers))
    return OutOfFold(np.concatenate(rows), {seconds: np.concatenate(part) for seconds, part in parts.items()})
