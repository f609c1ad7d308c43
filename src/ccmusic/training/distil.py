"""Soft targets: what linear probes on the teachers' outputs say about every clip that the student may train on.

Source: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015); the probes are cross-fitted, so
that no clip is ever described by a probe that has seen its label or another clip of its artist.
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
"""Inverse strength of the L2 penalty on the standardised outputs of all teachers; flat around its optimum."""
SINGLE_C = 0.01
"""The same for the fewer outputs of one teacher."""


def probe_features(dataset: Dataset, teachers: Sequence[str] = PROBE_TEACHERS) -> np.ndarray:
    """Mean outputs of some teachers side by side, [shape=(clips, sum of their sizes)]."""
    return np.concatenate([dataset.teachers[name].mean() for name in teachers], axis=1)


def fit_probe(features: np.ndarray, labels: np.ndarray, c: float = PROBE_C) -> Pipeline:
    """Fit a multinomial logistic regression on standardised features.

    Parameters
    ----------
    features : np.ndarray [shape=(clips, size)]
    labels : np.ndarray [shape=(clips,)]
        Indices in `LABELS`, all known.
    c : float
        Inverse strength of the L2 penalty.

    Returns
    -------
    sklearn.pipeline.Pipeline
    """
    return make_pipeline(StandardScaler(), _regression(c)).fit(features, labels)


def fit_regression(features: np.ndarray, labels: np.ndarray, c: float, weights: np.ndarray) -> LogisticRegression:
    """Fit the same regression on features that are standardised already, with a weight for each clip."""
    return _regression(c).fit(features, labels, sample_weight=weights)


def _regression(c: float) -> LogisticRegression:
    return LogisticRegression(C=c, max_iter=1000, tol=1e-3)


def probe_probabilities(probe: Pipeline, features: np.ndarray) -> np.ndarray:
    """Probabilities [shape=(clips, 16)] in the order of `LABELS`; a class that the probe never saw gets zero."""
    probabilities = np.zeros((len(features), len(LABELS)))
    probabilities[:, probe.classes_] = probe.predict_proba(features)
    return probabilities


def soft_targets(dataset: Dataset, train: np.ndarray) -> np.ndarray:
    """Describe the training clips by probes fitted on the other folds' training clips.

    Parameters
    ----------
    dataset : Dataset
    train : np.ndarray [shape=(n,)]
        Rows that may be used; nothing of any other row enters.

    Returns
    -------
    np.ndarray [shape=(clips, 16), dtype=float32]
        Probabilities, restricted to the leaves that agree with what is known of the clip's group; NaN outside `train`.
    """
    features = probe_features(dataset)
    targets = np.full((len(dataset), len(LABELS)), np.nan, dtype=np.float32)
    for fold in np.unique(dataset.fold[train]):
        fit_on = train[(dataset.fold[train] != fold) & (dataset.label[train] >= 0)]
        describe = train[dataset.fold[train] == fold]
        probe = fit_probe(features[fit_on], dataset.label[fit_on])
        targets[describe] = probe_probabilities(probe, features[describe])
    # where only a group is known, what the probe puts outside it is wrong; a known leaf is left to the label loss
    grouped = train[dataset.label[train] < 0]
    targets[grouped] = targets[grouped] * dataset.allowed[grouped] + 1e-6 * dataset.allowed[grouped]
    targets[train] /= targets[train].sum(axis=1, keepdims=True)
    return targets


@dataclass(frozen=True)
class Standardiser:
    """Mean and scale of one teacher's outputs over the training clips.

    Attributes
    ----------
    mean, scale : np.ndarray [shape=(size,), dtype=float32]
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, dataset: Dataset, teacher: str, train: np.ndarray) -> Standardiser:
        """Measure over the windows of the clips `train` alone."""
        source = dataset.teachers[teacher]
        heard = np.arange(source.windows.shape[1]) < source.counts[train, None]
        rows = source.windows[train][heard]
        return cls(rows.mean(axis=0), rows.std(axis=0) + 1e-3)

    def __call__(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs [shape=(..., size)] with mean 0 and standard deviation 1 over the training windows."""
        return np.asarray((outputs - self.mean) / self.scale)
