"""The heads of the embedded model: linear layers, fitted on the embeddings of the trained networks.

The head that is trained together with a network is not part of the model: logistic regressions on the embeddings did
better for most families of networks, and as well as a blend of both (docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccmusic.training.configuration import RECORDINGS, SHORT
from ccmusic.training.data import Dataset
from ccmusic.training.linear_layers import Layer, fit_layer, fit_soft_layer, side_by_side
from ccmusic.training.network import EMBEDDING_SIZE
from ccmusic.training.predict import CROPS_PER_CLIP, WHOLE_SECONDS
from ccmusic.training.runs import LONG_SECONDS, SHORT_SECONDS, load_embeddings
from ccmusic.training.world_labels import WorldLabels, soft_world_targets

RECORDINGS_C, SHORT_C = 0.01, 0.003
"""Inverse strength of the L2 penalty on standardised embeddings."""
ALL_SECONDS = (*SHORT_SECONDS, *LONG_SECONDS, WHOLE_SECONDS)
"""Every length of recordings that is measured."""


@dataclass(frozen=True)
class OutOfFold:
    """Logits of clips by networks and heads that were not trained on the fold of the clip.

    Attributes
    ----------
    rows : np.ndarray [shape=(n,)]
        Rows of the dataset: the clips of which at least a group of leaves is known.
    logits : dict of float to np.ndarray [shape=(n, recordings, windows, 16)]
        By length of the recordings in seconds; NaN where a recording has fewer windows.
    """

    rows: np.ndarray
    logits: dict[float, np.ndarray]

    def keep(self, mask: np.ndarray) -> OutOfFold:
        """Only the clips where `mask` [shape=(n,)] is true."""
        return OutOfFold(self.rows[mask], {seconds: value[mask] for seconds, value in self.logits.items()})


def out_of_fold(work: Path, dataset: Dataset, folds: Sequence[int]) -> OutOfFold:
    """Compute the logits of every clip of which at least a group is known, each with its fold held out."""
    parts: dict[float, list[np.ndarray]] = {seconds: [] for seconds in ALL_SECONDS}
    rows = []
    for fold in folds:
        _, test = dataset.split(fold)
        rows.append(test[~dataset.allowed[test].all(axis=1)])
        layers = recordings_layer(work, dataset, fold), short_layer(work, dataset, fold)
        for seconds in ALL_SECONDS:
            parts[seconds].append(logits_of(work, fold, rows[-1], seconds, *layers))
    return OutOfFold(np.concatenate(rows), {seconds: np.concatenate(part) for seconds, part in parts.items()})


def recordings_layer(work: Path, dataset: Dataset, fold: int | None) -> Layer:
    """Head for the 16 genres of recordings, fitted on the mean embedding of each labelled training clip."""
    rows = _labelled(dataset, fold)
    return side_by_side([
        fit_layer(_mean_embeddings(work, name, fold)[rows], dataset.label[rows], RECORDINGS_C) for name in RECORDINGS
    ])  # fmt: skip


def short_layer(work: Path, dataset: Dataset, fold: int | None) -> Layer:
    """Head for the 16 genres of sounds up to 1.5 s, fitted on crops of each of these lengths."""
    rows = _labelled(dataset, fold)
    labels = np.tile(np.repeat(dataset.label[rows], CROPS_PER_CLIP), len(SHORT_SECONDS))
    # all crops of a clip together have the weight 1
    share = 1 / (CROPS_PER_CLIP * len(SHORT_SECONDS))
    return side_by_side([
        fit_layer(_crops(work, name, fold, rows), labels, SHORT_C, share) for name in SHORT
    ])  # fmt: skip


def world_layers(work: Path, dataset: Dataset, labels: WorldLabels, fold: int | None) -> tuple[Layer, Layer]:
    """Heads for the world genres of recordings, and of sounds up to 1.5 s.

    Returns
    -------
    recordings, short : tuple of np.ndarray
        Layers on the embeddings of all networks for the one or the other, side by side.
    """
    rows, _ = dataset.split(fold)
    targets = soft_world_targets(dataset, labels, rows)[rows]
    recordings = [fit_soft_layer(_mean_embeddings(work, name, fold)[rows], targets) for name in RECORDINGS]
    repeated = np.tile(np.repeat(targets, CROPS_PER_CLIP, axis=0), (len(SHORT_SECONDS), 1))
    short = [fit_soft_layer(_crops(work, name, fold, rows), repeated) for name in SHORT]
    return side_by_side(recordings), side_by_side(short)


def logits_of(
    work: Path, fold: int | None, rows: np.ndarray, seconds: float, recordings: Layer, short: Layer
) -> np.ndarray:
    """Logits of clips for recordings of one length, equal to those of the joined graph.

    Parameters
    ----------
    work : Path
    fold : int or None
        The fold that was held out of the training of the networks.
    rows : np.ndarray [shape=(n,)]
        Clips.
    seconds : float
        Length of the recordings.
    recordings, short : tuple of np.ndarray
        The layers.

    Returns
    -------
    np.ndarray [shape=(n, recordings per clip, windows, classes), dtype=float32]
        NaN where a clip has fewer windows.
    """
    members, (weight, bias) = (SHORT, short) if seconds in SHORT_SECONDS else (RECORDINGS, recordings)
    embedded = load_embeddings(work, tuple(members), fold, seconds)[rows]
    logits = np.asarray(embedded @ weight.T + bias, dtype=np.float32)
    return logits[:, None] if seconds == WHOLE_SECONDS else logits[:, :, None]


def _labelled(dataset: Dataset, fold: int | None) -> np.ndarray:
    """Rows of the labelled training clips."""
    rows, _ = dataset.split(fold)
    return np.asarray(rows[dataset.label[rows] >= 0])


def _mean_embeddings(work: Path, name: str, fold: int | None) -> np.ndarray:
    """Mean over the windows of each whole clip, [shape=(clips, EMBEDDING_SIZE)]."""
    return np.asarray(np.nanmean(load_embeddings(work, [name], fold, WHOLE_SECONDS), axis=1))


def _crops(work: Path, name: str, fold: int | None, rows: np.ndarray) -> np.ndarray:
    """Embeddings of every short crop of some clips, [shape=(lengths * clips * crops, EMBEDDING_SIZE)]."""
    return np.concatenate(
        [load_embeddings(work, [name], fold, seconds)[rows].reshape(-1, EMBEDDING_SIZE) for seconds in SHORT_SECONDS]
    )
