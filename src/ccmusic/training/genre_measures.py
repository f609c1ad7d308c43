"""Measures of the 16 genres out of fold: of the networks, and of probes on the teachers for comparison."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ccmusic.genres import LEVELS, roll_up
from ccmusic.scoring.calibration import calibration_error_by_chance, expected_calibration_error
from ccmusic.scoring.classification import top_k_accuracy
from ccmusic.scoring.levels import group_of_leaf, level_accuracy, scores_by_level
from ccmusic.scoring.temperature import as_tracks, cross_fitted, fit_temperature, track_probabilities
from ccmusic.scoring.thresholds import shortest_trusted, sure_thresholds, uncertain_threshold
from ccmusic.training.data import Dataset
from ccmusic.training.heads import OutOfFold
from ccmusic.training.predict import CLIP_SECONDS, WHOLE_SECONDS
from ccmusic.training.teachers import PROBE_TEACHERS, SINGLE_C, SINGLE_TEACHERS, probe_features, probe_out_of_fold

SHOWN_SHORT_SECONDS = 1.0


@dataclass(frozen=True)
class System:
    """One of the compared systems: measures over all folds together, and of each fold.

    Attributes
    ----------
    name : str
    pooled : dict of str to float
        As `ccmusic.scoring.levels.scores_by_level` returns them.
    folds : list of dict
        The same for each fold.
    """

    name: str
    pooled: dict[str, float]
    folds: list[dict[str, float]]

    @classmethod
    def measured(cls, name: str, reference: np.ndarray, probabilities: np.ndarray, fold: np.ndarray) -> System:
        """Measure the probabilities [shape=(clips, 16)] of a system against the leaves."""
        by_fold = [scores_by_level(reference[fold == f], probabilities[fold == f]) for f in np.unique(fold)]
        return cls(name, scores_by_level(reference, probabilities), by_fold)

    def spread(self, measure: str) -> str:
        """Format the mean and standard deviation over the folds, and the value over all folds together."""
        values = [fold[measure] for fold in self.folds]
        deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
        return f"{np.mean(values):.3f} ± {deviation:.3f} ({self.pooled[measure]:.3f})"


@dataclass(frozen=True)
class GenreMeasures:
    """Everything that is measured of the 16 genres on out-of-fold predictions.

    Attributes
    ----------
    reference, rows, fold : np.ndarray [shape=(clips,)]
        Leaves, rows of the dataset and folds of the labelled clips.
    before, after : np.ndarray [shape=(clips, 16)]
        Probabilities of whole clips at temperature 1 and at the cross-fitted one.
    temperatures : dict of float to float
        By length of the recording, fitted on all out-of-fold predictions.
    short : tuple of np.ndarray
        Of recordings of 1 s: references [shape=(tracks,)], and probabilities at temperature 1 and at the cross-fitted
        one [shape=(tracks, 16)].
    systems : list of System
        The networks first.
    curve : dict of int to list of float
        Top-1 accuracy by level at each of `CLIP_SECONDS`.
    by_seconds : dict of float to dict of str to float
        By length of the recording: as `ccmusic.scoring.levels.scores_by_level` returns them, cross-fitted.
    probe_curve : dict of int to dict of float to float
        The same for the probe on all teachers, by seconds of its input.
    ece : dict of float to tuple of float
        By length of the recording: calibration error at temperature 1, cross-fitted, and with the temperatures of the
        card; then the two values of `calibration_error_by_chance`.
    uncertain : dict of str to float
    sure : dict of int to dict of str to float
        By level: threshold, precision and coverage.
    too_short_below_seconds : float
    groups_only : dict of str to tuple of (float, int)
        By level: accuracy on clips of which only the group is known, and their number.
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


def measure_genres(dataset: Dataset, out_of_fold: OutOfFold) -> GenreMeasures:
    """Measure the networks, and the linear probes on the same folds.

    Parameters
    ----------
    dataset : Dataset
    out_of_fold : OutOfFold
        Clips with a known leaf or group.

    Returns
    -------
    GenreMeasures
    """
    labelled = out_of_fold.keep(dataset.label[out_of_fold.rows] >= 0)
    rows, logits = labelled.rows, labelled.logits
    reference, fold = dataset.label[rows], dataset.fold[rows]
    temperatures = {seconds: fit_temperature(*as_tracks(reference, value)) for seconds, value in logits.items()}

    ece, measured, reliable = {}, {}, {}
    for seconds in CLIP_SECONDS:
        tracks, track_logits = as_tracks(reference, logits[seconds])
        plain = track_probabilities(track_logits)
        with_card = track_probabilities(track_logits, temperatures[seconds])
        crossed = cross_fitted(tracks, track_logits, np.repeat(fold, logits[seconds].shape[1]))
        ece[seconds] = (
            *(expected_calibration_error(tracks, each) for each in (plain, crossed, with_card)),
            *calibration_error_by_chance(crossed),
        )
        measured[seconds] = scores_by_level(tracks, crossed)
        reliable[seconds] = (tracks, plain, crossed)

    _, before, after = reliable[WHOLE_SECONDS]
    by_seconds = {seconds: track_probabilities(logits[seconds], temperatures[seconds]) for seconds in CLIP_SECONDS}
    curve = {
        level: [level_accuracy(*as_tracks(reference, by_seconds[s]), level) for s in CLIP_SECONDS] for level in LEVELS
    }
    probes, probe_curve = _probes(dataset, rows)
    return GenreMeasures(
        reference=reference,
        rows=rows,
        fold=fold,
        before=before,
        after=after,
        temperatures=temperatures,
        short=reliable[SHOWN_SHORT_SECONDS],
        systems=[System.measured("this network", reference, after, fold), *probes],
        curve=curve,
        by_seconds=measured,
        probe_curve=probe_curve,
        ece=ece,
        uncertain=uncertain_threshold(reference, after),
        sure=sure_thresholds(reference, after),
        too_short_below_seconds=shortest_trusted(reference, by_seconds),
        groups_only=_groups_only(dataset, out_of_fold, temperatures[WHOLE_SECONDS]),
    )


def _probes(dataset: Dataset, rows: np.ndarray) -> tuple[list[System], dict[int, dict[float, float]]]:
    """Measure linear probes on whole clips, and the accuracy of the probe on all teachers for shorter input."""
    reference, fold = dataset.label[rows], dataset.fold[rows]
    folds, systems = np.unique(fold).tolist(), []
    for name, teachers in SINGLE_TEACHERS.items():
        (whole,) = probe_out_of_fold(dataset, folds, probe_features(dataset, teachers), c=SINGLE_C)
        systems.append(System.measured(name, reference, whole[rows], fold))
    (whole,) = probe_out_of_fold(dataset, folds, probe_features(dataset))
    systems.append(System.measured("all three teachers", reference, whole[rows], fold))

    # windows of 5 s and of 3 s both start at 0 and 15 s; the output for the whole clip has no windows and is left out
    windowed = [name for name in PROBE_TEACHERS if not name.endswith("_clip")]
    clips = np.arange(len(dataset))

    def features_of(start: float, counts: tuple[int, int]) -> np.ndarray:
        parts = []
        for name in windowed:
            teacher = dataset.teachers[name]
            seconds = counts[0 if teacher.seconds == 5 else 1] * teacher.seconds
            parts.append(teacher.over(clips, np.full(len(clips), start), seconds))
        return np.concatenate(parts, axis=1)

    parts = [features_of(start, counts) for counts in ((1, 1), (2, 3)) for start in (0.0, 15.0)]
    out = probe_out_of_fold(dataset, folds, probe_features(dataset, windowed), parts)
    curve = {}
    for level in LEVELS:
        accuracy = [level_accuracy(reference, probabilities[rows], level) for probabilities in out]
        curve[level] = {5.0: sum(accuracy[1:3]) / 2, 10.0: sum(accuracy[3:5]) / 2, 30.0: accuracy[0]}
    return systems, curve


def _groups_only(dataset: Dataset, out_of_fold: OutOfFold, temperature: float) -> dict[str, tuple[float, int]]:
    """Accuracy on clips of which only a group is known; these were not used to choose anything."""
    unlabelled = out_of_fold.keep(dataset.label[out_of_fold.rows] < 0)
    if not len(unlabelled.rows):
        return {}
    probabilities = track_probabilities(unlabelled.logits[WHOLE_SECONDS][:, 0], temperature)
    allowed = dataset.allowed[unlabelled.rows]
    out = {}
    for level in (9, 2):
        # a clip counts at a level if all its possible leaves are in one group
        groups = [np.unique(group_of_leaf(level)[row]) for row in allowed]
        known = np.array([len(group) == 1 for group in groups])
        if known.any():
            reference = np.array([group[0] for group in groups])[known]
            accuracy = top_k_accuracy(reference, roll_up(probabilities[known], level))
            out[f"level {level}"] = (accuracy, int(known.sum()))
    return out
