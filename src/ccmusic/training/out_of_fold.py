"""Measures of the out-of-fold predictions: the network beside probes on its teachers, and numbers for the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ccmusic.genres import LABELS, LEVELS, roll_up
from ccmusic.scoring.calibration import calibration_error_by_chance, expected_calibration_error
from ccmusic.scoring.classification import confusion_matrix, f1_by_class, top_k_accuracy
from ccmusic.scoring.levels import group_of_leaf, level_accuracy, scores_by_level
from ccmusic.scoring.temperature import as_tracks, cross_fitted, fit_temperature, track_probabilities
from ccmusic.scoring.thresholds import shortest_trusted, sure_thresholds, uncertain_threshold
from ccmusic.training.crossval import OutOfFold, probe_out_of_fold
from ccmusic.training.data import Dataset
from ccmusic.training.distil import PROBE_TEACHERS, SINGLE_C, SINGLE_TEACHERS, probe_features
from ccmusic.training.predict import CLIP_SECONDS

TRACK_SECONDS = CLIP_SECONDS[-1]
SHOWN_SHORT_SECONDS = 1.0


@dataclass(frozen=True)
class System:
    """One system under comparison: pooled measures, and those of each fold.

    Attributes
    ----------
    name : str
    pooled : dict of str to float
        As `ccmusic.scoring.levels.scores_by_level` gives them.
    folds : list of dict
        The same for every fold.
    """

    name: str
    pooled: dict[str, float]
    folds: list[dict[str, float]]

    def spread(self, measure: str) -> str:
        """Mean and standard deviation over the folds, then the pooled value."""
        values = [fold[measure] for fold in self.folds]
        deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
        return f"{np.mean(values):.3f} ± {deviation:.3f} ({self.pooled[measure]:.3f})"


@dataclass(frozen=True)
class Evaluation:
    """Everything that is measured on out-of-fold predictions.

    Attributes
    ----------
    reference, rows, fold : np.ndarray [shape=(clips,)]
        Leaves, rows of the dataset and folds of the labelled clips.
    before, after : np.ndarray [shape=(clips, 16)]
        Probabilities of whole clips at temperature 1 and at the cross-fitted one.
    temperatures : dict of float to float
        By window length, fitted on all out-of-fold predictions.
    short : tuple of np.ndarray
        References [shape=(tracks,)] and probabilities at temperature 1 and at the cross-fitted one
        [shape=(tracks, 16)] of recordings of 1 s.
    systems : list of System
        The network first.
    curve : dict of int to list of float
        Top-1 accuracy by level at each of `CLIP_SECONDS`.
    by_seconds : dict of float to dict of str to float
        As `ccmusic.scoring.levels.scores_by_level` gives them, cross-fitted, by length of the recording.
    probe_curve : dict of int to dict of float to float
        The same for the probe on all teachers, by seconds heard.
    ece : dict of float to tuple of float
        By length of the recording: calibration error at temperature 1, cross-fitted, and as the card has it; then what
        a perfectly calibrated model of the same certainty would show (`calibration_error_by_chance`).
    uncertain : dict of str to float
    sure : dict of int to dict of str to float
        By level: threshold, precision and coverage.
    too_short_below_seconds : float
    groups_only : dict of str to tuple of (float, int)
        Accuracy at the level that is known, and clips, for clips without a leaf.
    """

    reference: np.ndarray
    rows: np.ndarray
    fold: np.ndarray
    before: np.ndarray
    after: np.ndarray
    temperatures: dict[float, float]
    short: tuple[np.ndarray, np.ndarray, np.ndarray]
    systems: list[System]
    curve: dict[int, list[float]]
    by_seconds: dict[float, dict[str, float]]
    probe_curve: dict[int, dict[float, float]]
    ece: dict[float, tuple[float, ...]]
    uncertain: dict[str, float]
    sure: dict[int, dict[str, float]]
    too_short_below_seconds: float
    groups_only: dict[str, tuple[float, int]] = field(default_factory=dict)


def _system(name: str, reference: np.ndarray, probabilities: np.ndarray, fold: np.ndarray) -> System:
    by_fold = [scores_by_level(reference[fold == f], probabilities[fold == f]) for f in np.unique(fold)]
    return System(name, scores_by_level(reference, probabilities), by_fold)


def _probes(
    dataset: Dataset, folds: Sequence[int], rows: np.ndarray
) -> tuple[list[System], dict[int, dict[float, float]]]:
    """Linear probes on whole clips, and the all-teacher probe's accuracy where it hears one window, two, or all."""
    reference, fold = dataset.label[rows], dataset.fold[rows]
    systems = []
    for name, teachers in SINGLE_TEACHERS.items():
        (whole,) = probe_out_of_fold(dataset, folds, probe_features(dataset, teachers), c=SINGLE_C)
        systems.append(_system(name, reference, whole[rows], fold))
    (whole,) = probe_out_of_fold(dataset, folds, probe_features(dataset))
    systems.append(_system("all three teachers", reference, whole[rows], fold))

    # windows of 5 s and 3 s both start at 0 and 15 s; the clip-level output is no window and stays out
    windowed = [name for name in PROBE_TEACHERS if not name.endswith("_clip")]
    clips = np.arange(len(dataset))

    def heard(start: float, counts: tuple[int, int]) -> np.ndarray:
        parts = []
        for name in windowed:
            teacher = dataset.teachers[name]
            seconds = counts[0 if teacher.seconds == 5 else 1] * teacher.seconds
            parts.append(teacher.over(clips, np.full(len(clips), start), seconds))
        return np.concatenate(parts, axis=1)

    stretches = [heard(start, counts) for counts in ((1, 1), (2, 3)) for start in (0.0, 15.0)]
    out = probe_out_of_fold(dataset, folds, probe_features(dataset, windowed), stretches)
    curve = {}
    for level in LEVELS:
        accuracy = [level_accuracy(reference, probabilities[rows], level) for probabilities in out]
        curve[level] = {5.0: sum(accuracy[1:3]) / 2, 10.0: sum(accuracy[3:5]) / 2, 30.0: accuracy[0]}
    return systems, curve


def fit_temperatures(reference: np.ndarray, logits: Mapping[float, np.ndarray]) -> dict[float, float]:
    """Temperatures from logits [shape=(clips, recordings, windows, 16)], both by length of the recording."""
    return {seconds: fit_temperature(*as_tracks(reference, value)) for seconds, value in logits.items()}


def evaluate(dataset: Dataset, out_of_fold: OutOfFold, folds: Sequence[int]) -> Evaluation:
    """Measure the networks and, on the same folds, the linear probes.

    Parameters
    ----------
    dataset : Dataset
    out_of_fold : OutOfFold
        Clips with a known leaf or group.
    folds : sequence of int

    Returns
    -------
    Evaluation
    """
    labelled = out_of_fold.keep(dataset.label[out_of_fold.rows] >= 0)
    rows, logits = labelled.rows, labelled.logits
    reference, fold = dataset.label[rows], dataset.fold[rows]
    temperatures = fit_temperatures(reference, logits)

    ece, measured, reliable = {}, {}, {}
    for seconds in CLIP_SECONDS:
        tracks, track_logits = as_tracks(reference, logits[seconds])
        plain = track_probabilities(track_logits)
        shipped = track_probabilities(track_logits, temperatures[seconds])
        crossed = cross_fitted(tracks, track_logits, np.repeat(fold, logits[seconds].shape[1]))
        ece[seconds] = (
            *(expected_calibration_error(tracks, each) for each in (plain, crossed, shipped)),
            *calibration_error_by_chance(crossed),
        )
        measured[seconds] = scores_by_level(tracks, crossed)
        reliable[seconds] = (tracks, plain, crossed)

    whole = logits[TRACK_SECONDS][:, 0]
    before = track_probabilities(whole)
    after = cross_fitted(reference, whole, fold)
    by_seconds = {seconds: track_probabilities(logits[seconds], temperatures[seconds]) for seconds in CLIP_SECONDS}
    curve = {
        level: [level_accuracy(*as_tracks(reference, by_seconds[s]), level) for s in CLIP_SECONDS] for level in LEVELS
    }
    probes, probe_curve = _probes(dataset, folds, rows)
    return Evaluation(
        reference=reference,
        rows=rows,
        fold=fold,
        before=before,
        after=after,
        temperatures=temperatures,
        short=reliable[SHOWN_SHORT_SECONDS],
        systems=[_system("this network", reference, after, fold), *probes],
        curve=curve,
        by_seconds=measured,
        probe_curve=probe_curve,
        ece=ece,
        uncertain=uncertain_threshold(reference, after),
        sure=sure_thresholds(reference, after),
        too_short_below_seconds=shortest_trusted(reference, by_seconds),
        groups_only=_groups_only(dataset, out_of_fold, temperatures[TRACK_SECONDS]),
    )


def _groups_only(dataset: Dataset, out_of_fold: OutOfFold, temperature: float) -> dict[str, tuple[float, int]]:
    """Accuracy on clips of which only a group is known: what these say was not used to choose anything."""
    unlabelled = out_of_fold.keep(dataset.label[out_of_fold.rows] < 0)
    if not len(unlabelled.rows):
        return {}
    probabilities = track_probabilities(unlabelled.logits[TRACK_SECONDS][:, 0], temperature)
    allowed = dataset.allowed[unlabelled.rows]
    out = {}
    for level in (9, 2):
        # a clip counts at a level where all its possible leaves lie in one group
        groups = [np.unique(group_of_leaf(level)[row]) for row in allowed]
        known = np.array([len(group) == 1 for group in groups])
        if known.any():
            reference = np.array([group[0] for group in groups])[known]
            accuracy = top_k_accuracy(reference, roll_up(probabilities[known], level))
            out[f"level {level}"] = (accuracy, int(known.sum()))
    return out


def card_metrics(evaluation: Evaluation) -> dict[str, object]:
    """Numbers for the card, rounded, each named by what it is measured on."""
    network = evaluation.systems[0]
    rounded = {name: round(value, 4) for name, value in network.pooled.items() if not name.startswith("ece")}
    deviations = {
        name: round(float(np.std([fold[name] for fold in network.folds], ddof=1)), 4)
        for name in ("top1_16", "top5_16", "top1_9", "top1_2")
        if len(network.folds) > 1
    }
    return {
        "measured_on": (
            f"out-of-fold predictions for {len(evaluation.reference)} weakly labelled 30-s clips, "
            f"{len(network.folds)} artist-disjoint folds, pooled; agreement with the labelling, not with listeners"
        ),
        "out_of_fold": rounded,
        "standard_deviation_over_folds": deviations,
        "ece_16": {
            "temperature_1": round(evaluation.ece[TRACK_SECONDS][0], 4),
            "cross_fitted": round(evaluation.ece[TRACK_SECONDS][1], 4),
            "as_shipped": round(evaluation.ece[TRACK_SECONDS][2], 4),
            "by_chance": round(evaluation.ece[TRACK_SECONDS][3], 4),
            "by_chance_high": round(evaluation.ece[TRACK_SECONDS][4], 4),
        },
        "top1_16_by_seconds": {
            f"{s:g}": round(value, 4) for s, value in zip(CLIP_SECONDS, evaluation.curve[16], strict=True)
        },
        "by_seconds": {
            f"{s:g}": {name: round(values[name], 4) for name in ("top1_16", "top5_16", "top1_9", "top1_2", "ece_16")}
            for s, values in evaluation.by_seconds.items()
        },
        "all_teachers_linear_probe": {
            name: round(evaluation.systems[-1].pooled[name], 4) for name in ("top1_16", "top5_16", "top1_9", "top1_2")
        },
        "uncertain": evaluation.uncertain,
        "sure": {str(level): values for level, values in evaluation.sure.items()},
        "f1_by_class": {
            label: round(float(value), 4)
            for label, value in zip(
                LABELS, f1_by_class(confusion_matrix(evaluation.reference, evaluation.after)), strict=True
            )
            if np.isfinite(value)
        },
    }
