"""Measures of the further networks on out-of-fold embeddings: very short recordings, world genres, the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.preprocessing import StandardScaler

from ccmusic.genres import LEVELS
from ccmusic.training.calibrate import as_tracks, cross_fitted, fit_temperature, uncertain_threshold
from ccmusic.training.configuration import Configuration
from ccmusic.training.data import Dataset
from ccmusic.training.distil import fit_regression, probe_features
from ccmusic.training.evaluate import (
    expected_calibration_error,
    f1_by_class,
    scores,
    top_k_accuracy,
    track_probabilities,
)
from ccmusic.training.members import SHORT_SECONDS, WHOLE_SECONDS, Layer, embeddings, short_head
from ccmusic.training.report import level_accuracy
from ccmusic.training.world import (
    TEACHER_C,
    TRUST,
    WORLD,
    WorldLabels,
    fit_world_head,
    soft_world_targets,
)

WORLD_SECONDS = (0.3, 1.0, 3.0, 10.0, WHOLE_SECONDS)
WORLD_PRECISION = 0.7
WORLD_MEMBERS = {"world": 0.65, "short": 0.35}
"""Share of each network's head in the world genres' logits; fixed before it was measured."""
SOURCE_C = 0.01


@dataclass(frozen=True)
class Lengths:
    """Measures by length of the recording, and the temperatures of the card.

    Attributes
    ----------
    measures : dict of float to dict of str to float
        By seconds; ``ece_cross_fitted`` is calibrated on the other folds.
    temperatures : dict of float to float
        By window length in seconds.
    """

    measures: dict[float, dict[str, float]]
    temperatures: dict[float, float]


def measure_short(work: Path, dataset: Dataset, folds: Sequence[int], configuration: Configuration) -> Lengths:
    """Measure the network for very short recordings on crops of the labelled clips that it has not seen."""
    logits: dict[float, list[np.ndarray]] = {seconds: [] for seconds in SHORT_SECONDS}
    rows = []
    for fold in folds:
        _, test = dataset.split(fold)
        test = test[dataset.label[test] >= 0]
        rows.append(test)
        weight, bias = short_head(work, dataset, fold, configuration)
        for seconds in SHORT_SECONDS:
            logits[seconds].append(embeddings(work, fold, seconds)[test] @ weight.T + bias)
    order = np.concatenate(rows)
    measures, temperatures = {}, {}
    for seconds, parts in logits.items():
        reference, tracks = as_tracks(dataset.label[order], np.concatenate(parts)[:, :, None])
        temperatures[seconds] = fit_temperature(reference, tracks)
        crossed = cross_fitted(reference, tracks, np.repeat(dataset.fold[order], tracks.shape[0] // len(order)))
        measures[seconds] = {
            **{f"top1_{level}": level_accuracy(reference, crossed, level) for level in LEVELS},
            **{name: scores(reference, crossed)[name] for name in ("top5_16", "macro_f1_16")},
            "ece_temperature_1": expected_calibration_error(reference, track_probabilities(tracks)),
            "ece_cross_fitted": expected_calibration_error(reference, crossed),
        }
    return Lengths(measures, temperatures)


def world_embeddings(work: Path, fold: int | None, seconds: float) -> np.ndarray:
    """Embeddings of both further networks side by side, [shape=(clips, 3, 2 * EMBEDDING_SIZE)]."""
    return np.concatenate([embeddings(work / name, fold, seconds) for name in WORLD_MEMBERS], axis=2)


def world_head(work: Path, dataset: Dataset, labels: WorldLabels, fold: int | None) -> Layer:
    """Fit a head for the world genres on each network's embeddings of the clips that it was trained on, and mix them.

    Returns
    -------
    weight : np.ndarray [shape=(16, 2 * EMBEDDING_SIZE)]
    bias : np.ndarray [shape=(16,)]
    """
    rows, _ = dataset.split(fold)
    targets = soft_world_targets(dataset, labels, rows)[rows]
    layers = [
        fit_world_head(np.nanmean(embeddings(work / name, fold, WHOLE_SECONDS)[rows], axis=1), targets)
        for name in WORLD_MEMBERS
    ]
    shares = list(WORLD_MEMBERS.values())
    weight = np.concatenate([share * layer[0] for share, layer in zip(shares, layers, strict=True)], axis=1)
    return weight, np.sum([share * layer[1] for share, layer in zip(shares, layers, strict=True)], axis=0)


@dataclass(frozen=True)
class WorldMeasures:
    """What the world head is worth on clips of listed artists in a fold that nothing was fitted on.

    Attributes
    ----------
    lengths : Lengths
        ``top1``, ``balanced`` (mean recall over the genres), ``ece_temperature_1`` and ``ece_cross_fitted``.
    teachers : dict of str to float
        ``top1`` and ``balanced`` of a linear probe on all teacher outputs, fitted on the same labels.
    uncertain : dict of str to float
    genres : list of tuple
        Genre, clips tested, their artists, other labels trained on ("tag 3, folder 4"), F1, recall, in top 3.
    """

    lengths: Lengths
    teachers: dict[str, float]
    uncertain: dict[str, float]
    genres: list[tuple[object, ...]]


def _balanced(reference: np.ndarray, probabilities: np.ndarray) -> float:
    right = probabilities.argmax(axis=1) == reference
    return float(np.mean([right[reference == genre].mean() for genre in np.unique(reference)]))


def measure_world(work: Path, dataset: Dataset, labels: WorldLabels, folds: Sequence[int]) -> WorldMeasures:
    """Measure the world head at every length, and the teachers' probe beside it."""
    logits: dict[float, list[np.ndarray]] = {seconds: [] for seconds in WORLD_SECONDS}
    rows, probed = [], []
    features = probe_features(dataset)
    for fold in folds:
        train, test = dataset.split(fold)
        test = test[labels.tested[test]]
        rows.append(test)
        weight, bias = world_head(work, dataset, labels, fold)
        for seconds in WORLD_SECONDS:
            logits[seconds].append(world_embeddings(work, fold, seconds)[test] @ weight.T + bias)
        known = train[labels.label[train] >= 0]
        count = np.bincount(labels.label[known], minlength=len(WORLD))
        scaler = StandardScaler().fit(features[known])
        weights = labels.trust[known] / TRUST["tag"] / np.sqrt(count[labels.label[known]] / count.mean())
        probe = fit_regression(scaler.transform(features[known]), labels.label[known], TEACHER_C, weights)
        said = np.zeros((len(test), len(WORLD)))
        said[:, probe.classes_] = probe.predict_proba(scaler.transform(features[test]))
        probed.append(said)
    order = np.concatenate(rows)
    measures, temperatures, whole = {}, {}, np.empty(0)
    for seconds, parts in logits.items():
        together = np.concatenate(parts)
        together = together[:, None] if seconds == WHOLE_SECONDS else together[:, :, None]
        reference, tracks = as_tracks(labels.label[order], together)
        temperature = fit_temperature(reference, tracks)
        # as for the 16 ccMusic genres: the temperature of 10-s windows is fitted to the whole tracks
        if seconds != 10.0:
            temperatures[min(seconds, 10.0)] = temperature
        crossed = cross_fitted(reference, tracks, np.repeat(dataset.fold[order], len(reference) // len(order)))
        measures[seconds] = {
            "top1": top_k_accuracy(reference, crossed),
            "top3": top_k_accuracy(reference, crossed, 3),
            "balanced": _balanced(reference, crossed),
            "ece_temperature_1": expected_calibration_error(reference, track_probabilities(tracks)),
            "ece_cross_fitted": expected_calibration_error(reference, crossed),
        }
        if seconds == WHOLE_SECONDS:
            whole = crossed
    reference, teachers = labels.label[order], np.concatenate(probed)
    return WorldMeasures(
        Lengths(measures, temperatures),
        {
            "top1": top_k_accuracy(reference, teachers),
            "top3": top_k_accuracy(reference, teachers, 3),
            "balanced": _balanced(reference, teachers),
        },
        uncertain_threshold(reference, whole, WORLD_PRECISION),
        _by_genre(dataset, labels, order, whole),
    )


def _by_genre(
    dataset: Dataset, labels: WorldLabels, order: np.ndarray, probabilities: np.ndarray
) -> list[tuple[object, ...]]:
    reference = labels.label[order]
    f1, top3 = f1_by_class(reference, probabilities), np.argsort(-probabilities, axis=1)[:, :3]
    out: list[tuple[object, ...]] = []
    for index, genre in enumerate(WORLD):
        mine = reference == index
        others = Counter(labels.basis[(labels.label == index) & ~labels.tested].tolist()).most_common()
        measured = ["-"] * 3
        if mine.any():
            recall = (probabilities[mine].argmax(axis=1) == index).mean()
            measured = [f"{value:.2f}" for value in (f1[index], recall, (top3[mine] == index).any(axis=1).mean())]
        out.append(
            (
                genre,
                int(mine.sum()),
                len(set(dataset.artist[order[mine]])),
                ", ".join(f"{name} {count}" for name, count in others) or "none",
                *measured,
            )
        )
    return out


def guess_source(work: Path, dataset: Dataset, folds: Sequence[int]) -> dict[str, tuple[float, float, float]]:
    """How well a linear probe tells which collection a clip is from.

    Returns
    -------
    dict of str to tuple of float
        For all clips, and for those of mirex and taffc (much the same music): accuracy from the embedding, from the
        teachers' outputs, and of always naming the largest.
    """
    features = probe_features(dataset)
    sides = {"all four": dataset.source != "", "mirex or taffc": np.isin(dataset.source, ["mirex", "taffc"])}
    out = {}
    for name, side in sides.items():
        if len(set(dataset.source[side])) < 2:
            continue
        right: list[list[np.ndarray]] = [[], [], []]
        for fold in folds:
            train, test = (rows[side[rows]] for rows in dataset.split(fold))
            tracks = np.nanmean(embeddings(work, fold, WHOLE_SECONDS), axis=1)
            for place, heard in enumerate((tracks, features)):
                scaler = StandardScaler().fit(heard[train])
                probe = fit_regression(
                    scaler.transform(heard[train]), dataset.source[train], SOURCE_C, np.ones(len(train))
                )
                right[place].append(probe.predict(scaler.transform(heard[test])) == dataset.source[test])
            largest = Counter(dataset.source[train].tolist()).most_common(1)[0][0]
            right[2].append(dataset.source[test] == largest)
        out[name] = tuple(float(np.concatenate(parts).mean()) for parts in right)
    return out  # type: ignore[return-value]
