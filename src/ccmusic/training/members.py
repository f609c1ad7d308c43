"""The further networks over the artist-disjoint folds: trained, embedding every clip, given heads afterwards.

Each run lies as ``<member>/<name>.pt`` beside its embeddings (npz) and its JSON twin; heads are fitted on these.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from ccmusic.genres import LABELS
from ccmusic.training import mel_front
from ccmusic.training.configuration import Configuration
from ccmusic.training.crossval import PRETRAINED, is_finished, load_network, new_network, run_name
from ccmusic.training.data import Dataset, class_weights
from ccmusic.training.distil import fit_regression
from ccmusic.training.evaluate import CROPS_PER_CLIP, clip_of, track_windows
from ccmusic.training.loop import train
from ccmusic.training.network import EMBEDDING_SIZE, GenreNetwork
from ccmusic.training.readout import LEAST_SCALE, UNSEEN_LOGIT

SHORT_SECONDS = (0.3, 0.5, 1.0)
WHOLE_SECONDS = 30.0
MOST_WINDOWS = 3
SHORT_C, SHORT_SHARE, SHORT_BALANCE = 0.003, 0.5, 0.5
Layer = tuple[np.ndarray, np.ndarray]


def embed(network: GenreNetwork, dataset: Dataset, clips: np.ndarray, seconds: float) -> np.ndarray:
    """Embeddings of recordings of one length, [shape=(len(dataset), 3, EMBEDDING_SIZE), dtype=float16].

    30 s: a clip's first three windows; less: three crops of it, spread evenly. NaN where there is no such row.
    """
    out = np.full((len(dataset), MOST_WINDOWS, EMBEDDING_SIZE), np.nan, dtype=np.float16)
    positions = np.linspace(0, 1, CROPS_PER_CLIP)
    for clip in clips:
        whole = dataset.cqt_db(clip)
        heard = (
            track_windows(whole)[:MOST_WINDOWS]
            if seconds == WHOLE_SECONDS
            else np.stack([clip_of(whole, seconds, position) for position in positions])
        )
        with torch.inference_mode():
            out[clip, : len(heard)] = network.embed(torch.from_numpy(np.ascontiguousarray(heard))).numpy()
    return out


def run_member(
    data: Path, audio: Path, work: Path, dataset: Dataset, fold: int | None, configuration: Configuration
) -> None:
    """Train one network on everything but a fold and embed what its heads need, unless that is finished.

    Parameters
    ----------
    data, audio, work : Path
        The data directory, recordings of free music for the mel map, and where results are kept.
    dataset : Dataset
    fold : int or None
        The fold to hold out; None trains on every clip.
    configuration : Configuration
    """
    if is_finished(work, fold, configuration):
        return
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(configuration.seed)
    rows, test = dataset.split(fold)
    network = new_network(dataset, configuration)
    with np.load(data / PRETRAINED) as pretrained:
        if configuration.front == "mel":
            network.trunk.front.start_from(*mel_front.fit(audio, pretrained["mel_filters"]))
    if configuration.start == "mn04":
        network.trunk.load_mn04(data / PRETRAINED)
    name = run_name(fold)
    network, log = train(network, dataset, rows, configuration, name)
    torch.save(network.state_dict(), work / f"{name}.pt")
    labelled = np.union1d(np.flatnonzero(dataset.label >= 0), test).astype(int)
    arrays = {str(seconds): embed(network, dataset, labelled, seconds) for seconds in SHORT_SECONDS}
    arrays |= {str(seconds): embed(network, dataset, test, seconds) for seconds in (3.0, 10.0)}
    arrays[str(WHOLE_SECONDS)] = embed(network, dataset, np.arange(len(dataset)), WHOLE_SECONDS)
    np.savez(work / f"{name}.npz", **arrays)  # type: ignore[arg-type]
    (work / f"{name}.json").write_text(json.dumps(log, indent=2) + "\n", encoding="utf-8")


def embeddings(work: Path, fold: int | None, seconds: float) -> np.ndarray:
    """Read what `run_member` has embedded, [shape=(clips, 3, EMBEDDING_SIZE), dtype=float32]."""
    with np.load(work / f"{run_name(fold)}.npz") as archive:
        return np.asarray(archive[str(seconds)], dtype=np.float32)


def short_head(work: Path, dataset: Dataset, fold: int | None, configuration: Configuration) -> Layer:
    """Half the distilled head, half a logistic regression on crops of every short length.

    Parameters
    ----------
    work : Path
    dataset : Dataset
    fold : int or None
        The fold that was held out.
    configuration : Configuration

    Returns
    -------
    weight : np.ndarray [shape=(16, EMBEDDING_SIZE)]
    bias : np.ndarray [shape=(16,)]
    """
    rows, _ = dataset.split(fold)
    rows = rows[dataset.label[rows] >= 0]
    crops = np.concatenate([embeddings(work, fold, s)[rows].reshape(-1, EMBEDDING_SIZE) for s in SHORT_SECONDS])
    labels = np.tile(np.repeat(dataset.label[rows], CROPS_PER_CLIP), len(SHORT_SECONDS))
    mean, scale = crops.mean(axis=0), np.maximum(crops.std(axis=0), LEAST_SCALE)
    # a clip counts once, however many crops it gives
    weights = class_weights(labels, SHORT_BALANCE)[labels] / (CROPS_PER_CLIP * len(SHORT_SECONDS))
    regression = fit_regression((crops - mean) / scale, labels, SHORT_C, weights)
    weight, bias = np.zeros((len(LABELS), EMBEDDING_SIZE)), np.full(len(LABELS), UNSEEN_LOGIT)
    weight[regression.classes_] = regression.coef_ / scale
    bias[regression.classes_] = regression.intercept_ - regression.coef_ @ (mean / scale)
    head = load_network(work, fold, dataset, configuration).head
    distilled = head.weight.detach().numpy(), head.bias.detach().numpy()
    blended = [
        (1 - SHORT_SHARE) * (own - own.mean(axis=0)) + SHORT_SHARE * (fitted - fitted.mean(axis=0))
        for own, fitted in zip(distilled, (weight, bias), strict=True)
    ]
    return blended[0], blended[1]


def with_head(network: GenreNetwork, layer: Layer) -> GenreNetwork:
    """Give a network another head; changed in place."""
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(layer[0]))
        network.head.bias.copy_(torch.from_numpy(layer[1]))
    return network
