"""Measures of the world genres out of fold, and how well the source of a clip can be guessed from its embedding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccmusic.scoring.calibration import calibration_error_by_chance, expected_calibration_error
from ccmusic.scoring.classification import (
    balanced_accuracy,
    confusion_matrix,
    f1_by_class,
    in_top_k,
    recall_by_class,
    top_k_accuracy,
)
from ccmusic.scoring.temperature import as_tracks, cross_fitted, fit_temperature, track_probabilities
from ccmusic.scoring.thresholds import uncertain_threshold
from ccmusic.training.configuration import RECORDINGS
from ccmusic.training.data import Dataset
from ccmusic.training.heads import ALL_SECONDS, logits_of, world_layers
from ccmusic.training.predict import WHOLE_SECONDS
from ccmusic.training.runs import load_embeddings
from ccmusic.training.teachers import fit_probe, probe_features, probe_probabilities
from ccmusic.training.world_labels import TEACHER_C, TRUST, WORLD, WorldLabels

WORLD_PRECISION = 0.7
"""Wanted share of right answers among those without the flag ``uncertain``."""
SOURCE_C = 0.01


@dataclass(frozen=True)
class WorldMeasures:
    """Measures of the world head on clips of listed artists, each with its fold held out.

    Attributes
    ----------
    by_seconds : dict of float to dict of str to float
        ``top1``, ``top3``, ``balanced`` (mean recall over the genres), ``ece_temperature_1`` and ``ece_cross_fitted``
        by length of the recordings.
    temperatures : dict of float to float
        By window length in seconds.
    reference : np.ndarray [shape=(clips,)]
        Genres of the tested clips.
    before, after : np.ndarray [shape=(clips, 16)]
        Their probabilities at temperature 1 and at the cross-fitted one.
    teachers : dict of str to float
        ``top1``, ``top3`` and ``balanced`` of a linear probe on all teacher outputs, fitted on the same labels.
    uncertain : dict of str to float
    genres : list of tuple
        Genre, tested clips, their artists, other labels of the training ("tag 3, folder 4"), F1, recall, in top 3.
    """

    by_seconds: dict[float, dict[str, float]]
    temperatures: dict[float, float]
    reference: np.ndarray
    before: np.ndarray
    after: np.ndarray
    teachers: dict[str, float]
    uncertain: dict[str, float]
    genres: list[tuple[object, ...]]


def measure_world(work: Path, dataset: Dataset, labels: WorldLabels, folds: Sequence[int]) -> WorldMeasures:
    """Measure the world head at every length, and a probe on the teachers for comparison."""
    logits: dict[float, list[np.ndarray]] = {seconds: [] for seconds in ALL_SECONDS}
    rows, probed = [], []
    for fold in folds:
        train, test = dataset.split(fold)
        rows.append(test[labels.tested[test]])
        layers = world_layers(work, dataset, labels, fold)
        for seconds in ALL_SECONDS:
            logits[seconds].append(logits_of(work, fold, rows[-1], seconds, *layers))
        probed.append(_probe(dataset, labels, train, rows[-1]))
    order = np.concatenate(rows)
    measures, temperatures = {}, {}
    before = after = np.empty(0)
    for seconds, parts in logits.items():
        reference, tracks = as_tracks(labels.label[order], np.concatenate(parts))
        temperatures[seconds] = fit_temperature(reference, tracks)
        plain = track_probabilities(tracks)
        crossed = cross_fitted(reference, tracks, np.repeat(dataset.fold[order], len(reference) // len(order)))
        by_chance, by_chance_high = calibration_error_by_chance(crossed)
        measures[seconds] = {
            "top1": top_k_accuracy(reference, crossed),
            "top3": top_k_accuracy(reference, crossed, 3),
            "balanced": balanced_accuracy(reference, crossed),
            "ece_temperature_1": expected_calibration_error(reference, plain),
            "ece_cross_fitted": expected_calibration_error(reference, crossed),
            "ece_by_chance": by_chance,
            "ece_by_chance_high": by_chance_high,
        }
        if seconds == WHOLE_SECONDS:
            before, after = plain, crossed
    reference, teachers = labels.label[order], np.concatenate(probed)
    return WorldMeasures(
        by_seconds=measures,
        temperatures=temperatures,
        reference=reference,
        before=before,
        after=after,
        teachers={
            "top1": top_k_accuracy(reference, teachers),
            "top3": top_k_accuracy(reference, teachers, 3),
            "balanced": balanced_accuracy(reference, teachers),
        },
        uncertain=uncertain_threshold(reference, after, WORLD_PRECISION),
        genres=_by_genre(dataset, labels, order, after),
    )


def guess_source(work: Path, dataset: Dataset, folds: Sequence[int]) -> dict[str, tuple[float, float, float]]:
    """Measure how well a linear probe recognises the collection that a clip is from.

    Returns
    -------
    dict of str to tuple of float
        For all clips, and for those of mirex and taffc (much the same music): accuracy from the embedding, from the
        outputs of the teachers, and of always naming the largest collection.
    """
    features = probe_features(dataset)
    subsets = {"all four": dataset.source != "", "mirex or taffc": np.isin(dataset.source, ["mirex", "taffc"])}
    out = {}
    for name, subset in subsets.items():
        if len(set(dataset.source[subset])) < 2:
            continue
        right: list[list[np.ndarray]] = [[], [], []]
        for fold in folds:
            train, test = (rows[subset[rows]] for rows in dataset.split(fold))
            tracks = np.nanmean(load_embeddings(work, tuple(RECORDINGS), fold, WHOLE_SECONDS), axis=1)
            for place, given in enumerate((tracks, features)):
                probe = fit_probe(given[train], dataset.source[train], SOURCE_C)
                right[place].append(probe.predict(given[test]) == dataset.source[test])
            largest = Counter(dataset.source[train].tolist()).most_common(1)[0][0]
            right[2].append(dataset.source[test] == largest)
        out[name] = tuple(float(np.concatenate(parts).mean()) for parts in right)
    return out  # type: ignore[return-value]


def _probe(dataset: Dataset, labels: WorldLabels, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Probabilities of a linear probe on all teacher outputs, [shape=(len(test), 16)]."""
    features = probe_features(dataset)
    fit_on = train[labels.label[train] >= 0]
    known = labels.label[fit_on]
    count = np.bincount(known, minlength=len(WORLD))
    weights = labels.trust[fit_on] / TRUST["tag"] / np.sqrt(count[known] / count.mean())
    probe = fit_probe(features[fit_on], known, TEACHER_C, weights)
    return probe_probabilities(probe, features[test], len(WORLD))


def _by_genre(
    dataset: Dataset, labels: WorldLabels, order: np.ndarray, probabilities: np.ndarray
) -> list[tuple[object, ...]]:
    reference = labels.label[order]
    confusion = confusion_matrix(reference, probabilities)
    f1, recall, top3 = f1_by_class(confusion), recall_by_class(confusion), in_top_k(reference, probabilities, 3)
    out: list[tuple[object, ...]] = []
    for index, genre in enumerate(WORLD):
        mine = reference == index
        others = Counter(labels.basis[(labels.label == index) & ~labels.tested].tolist()).most_common()
        measured = ["-"] * 3
        if mine.any():
            measured = [f"{value:.2f}" for value in (f1[index], recall[index], top3[mine].mean())]
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
