"""Linear probes on the outputs of the teachers, and the targets for distillation that come from them.

Source: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015). The probes are cross-fitted:
the probe that gives the targets of a clip was not fitted on its label or on another clip of its artist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ccmusic.genres import LABELS
from ccmusic.training.data import Dataset

SINGLE_TEACHERS: dict[str, tuple[str, ...]] = {
    "AudioSet (EfficientAT mn04)": ("audioset_logits", "audioset_embedding"),
    "Last.fm tags (musicnn)": ("lastfm_tags", "lastfm_embedding"),
    "MTG-Jamendo (musicnn, FCN)": ("jamendo_tags", "jamendo_tags_clip"),
}
PROBE_TEACHERS: tuple[str, ...] = tuple(name for names in SINGLE_TEACHERS.values() for name in names)
PROBE_C = 0.003
"""Inverse strength of the L2 penalty on the standardised outputs of all teachers; the optimum is flat."""
SINGLE_C = 0.01
"""The same for the fewer outputs of one teacher."""


def probe_features(dataset: Dataset, teachers: Sequence[str] = PROBE_TEACHERS) -> np.ndarray:
    """Mean outputs of some teachers side by side, [shape=(clips, sum of their sizes)]."""
    return np.concatenate([dataset.teachers[name].mean() for name in teachers], axis=1)


def fit_probe(
    features: np.ndarray, labels: np.ndarray, c: float = PROBE_C, weights: np.ndarray | None = None
) -> Pipeline:
    """Fit a multinomial logistic regression on standardised features.

    Parameters
    ----------
    features : np.ndarray [shape=(clips, size)]
    labels : np.ndarray [shape=(clips,)]
        All known.
    c : float
        Inverse strength of the L2 penalty.
    weights : np.ndarray [shape=(clips,)], optional
        Weight of each clip.

    Returns
    -------
    sklearn.pipeline.Pipeline
    """
    return make_pipeline(StandardScaler(), regression(c)).fit(
        features, labels, logisticregression__sample_weight=weights
    )


def regression(c: float) -> LogisticRegression:
    """The logistic regression of all probes and heads, not fitted yet."""
    return LogisticRegression(C=c, max_iter=1000, tol=1e-3)


def probe_probabilities(probe: Pipeline, features: np.ndarray, n_classes: int) -> np.ndarray:
    """Probabilities [shape=(clips, n_classes)]; 0 for a class that the probe was not fitted on."""
    probabilities = np.zeros((len(features), n_classes))
    probabilities[:, probe.classes_] = probe.predict_proba(features)
    return probabilities


def soft_targets(dataset: Dataset, train: np.ndarray) -> np.ndarray:
    """Probabilities of the training clips of each fold by a probe fitted on the training clips of the other folds.

    Parameters
    ----------
    dataset : Dataset
    train : np.ndarray [shape=(n,)]
        Rows that may be used; the others have no influence.

    Returns
    -------
    np.ndarray [shape=(clips, 16), dtype=float32]
        Only leaves that agree with the known group of the clip have a probability; NaN outside `train`.
    """
    features = probe_features(dataset)
    targets = np.full((len(dataset), len(LABELS)), np.nan, dtype=np.float32)
    for fold in np.unique(dataset.fold[train]):
        fit_on = train[(dataset.fold[train] != fold) & (dataset.label[train] >= 0)]
        own = train[dataset.fold[train] == fold]
        probe = fit_probe(features[fit_on], dataset.label[fit_on])
        targets[own] = probe_probabilities(probe, features[own], len(LABELS))
    # if only the group is known, leaves outside it get nothing; a known leaf is the task of the label loss
    grouped = train[dataset.label[train] < 0]
    targets[grouped] = targets[grouped] * dataset.allowed[grouped] + 1e-6 * dataset.allowed[grouped]
    targets[train] /= targets[train].sum(axis=1, keepdims=True)
    return targets


def probe_out_of_fold(
    dataset: Dataset,
    folds: Sequence[int],
    features: np.ndarray,
    others: Sequence[np.ndarray] = (),
    c: float = PROBE_C,
) -> list[np.ndarray]:
    """Cross-validate a linear probe over the folds.

    Parameters
    ----------
    dataset : Dataset
    folds : sequence of int
    features : np.ndarray [shape=(clips, size)]
        Input of the probe.
    others : sequence of np.ndarray [shape=(clips, size)]
        The same features of shorter parts of the clips; the same probe is applied to them.
    c : float
        Inverse strength of the L2 penalty.

    Returns
    -------
    list of np.ndarray [shape=(clips, 16)]
        Probabilities for `features`, then for each of `others`; NaN for clips outside the folds.
    """
    out = [np.full((len(dataset), len(LABELS)), np.nan) for _ in (features, *others)]
    for fold in folds:
        train_rows, test_rows = dataset.split(fold)
        fit_on = train_rows[dataset.label[train_rows] >= 0]
        probe = fit_probe(features[fit_on], dataset.label[fit_on], c)
        for into, given in zip(out, (features, *others), strict=True):
            into[test_rows] = probe_probabilities(probe, given[test_rows], len(LABELS))
    return out


@dataclass(frozen=True)
class Standardiser:
    """Mean and scale of one teacher output over the training clips.

    Attributes
    ----------
    mean, scale : np.ndarray [shape=(size,), dtype=float32]
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, dataset: Dataset, teacher: str, train: np.ndarray) -> Standardiser:
        """Measure them over the windows of the clips `train`."""
        source = dataset.teachers[teacher]
        present = np.arange(source.windows.shape[1]) < source.counts[train, None]
        rows = source.windows[train][present]
        return cls(rows.mean(axis=0), rows.std(axis=0) + 1e-3)

    def __call__(self, outputs: np.ndarray) -> np.ndarray:
        """Scale outputs [shape=(..., size)] to mean 0 and standard deviation 1 over the training windows."""
        return np.asarray((outputs - self.mean) / self.scale)
