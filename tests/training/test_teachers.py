from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ccmusic.training.batches import Batches
from ccmusic.training.configuration import Configuration
from ccmusic.training.data import Dataset, Teacher, load
from ccmusic.training.teachers import Standardiser, probe_features, probe_out_of_fold, soft_targets


def _changed(dataset: Dataset, rows: np.ndarray) -> Dataset:
    """The same data with other labels, teacher outputs and spectrograms in some rows."""
    label = dataset.label.copy()
    label[rows] = 15
    teachers = {}
    for name, teacher in dataset.teachers.items():
        windows = teacher.windows.copy()
        windows[rows] = 1e3
        teachers[name] = Teacher(windows, teacher.counts, teacher.seconds)
    spectrograms = dataset.spectrograms.copy()
    spectrograms[rows] = 7
    return replace(dataset, label=label, teachers=teachers, spectrograms=spectrograms)


def test_the_test_fold_has_no_influence_on_targets_and_scales(data_directory: Path) -> None:
    dataset = load(data_directory)
    train, test = dataset.split(2)
    changed = _changed(dataset, test)
    targets = soft_targets(dataset, train)
    assert np.isnan(targets[test]).all()
    np.testing.assert_array_equal(targets, soft_targets(changed, train))
    for name in dataset.teachers:
        np.testing.assert_array_equal(
            Standardiser.fit(dataset, name, train).mean, Standardiser.fit(changed, name, train).mean
        )


def test_the_test_fold_has_no_influence_on_batches(data_directory: Path) -> None:
    dataset = load(data_directory)
    train, test = dataset.split(1)
    configuration = Configuration(batch_size=8, seconds=(1.0,), shares=(1.0,))
    clean = Batches(dataset, train, configuration)
    changed = Batches(_changed(dataset, test), train, configuration)
    for one, other in zip(clean.epoch(), changed.epoch(), strict=True):
        np.testing.assert_array_equal(one.cqt_db, other.cqt_db)
        np.testing.assert_array_equal(one.soft, other.soft)
        np.testing.assert_array_equal(one.teachers["lastfm_tags"], other.teachers["lastfm_tags"])


def test_an_evaluated_probe_does_not_use_the_labels_of_its_test_fold(data_directory: Path) -> None:
    dataset = load(data_directory)
    features = probe_features(dataset)
    (found,) = probe_out_of_fold(dataset, [3], features)
    _, test = dataset.split(3)
    relabelled = replace(dataset, label=np.where(dataset.fold == 3, 15, dataset.label))
    np.testing.assert_array_equal(found[test], probe_out_of_fold(relabelled, [3], features)[0][test])


def test_the_target_of_a_clip_does_not_depend_on_its_label(data_directory: Path) -> None:
    dataset = load(data_directory)
    train, _ = dataset.split(0)
    row = train[dataset.label[train] >= 0][0]
    own_fold = train[dataset.fold[train] == dataset.fold[row]]
    relabelled = dataset.label.copy()
    relabelled[own_fold] = np.where(relabelled[own_fold] >= 0, 15, -1)
    changed = soft_targets(replace(dataset, label=relabelled), train)
    np.testing.assert_array_equal(soft_targets(dataset, train)[row], changed[row])


def test_a_target_is_0_outside_the_known_group(data_directory: Path) -> None:
    dataset = load(data_directory)
    train, _ = dataset.split(None)
    targets = soft_targets(dataset, train)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)
    grouped = np.flatnonzero((dataset.label < 0) & ~dataset.allowed.all(axis=1))
    assert len(grouped) == 3
    assert targets[grouped][~dataset.allowed[grouped]].max() == 0
