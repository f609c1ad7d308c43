from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ccmusic.genres import LABELS
from ccmusic.training.data import Teacher, load


def test_no_artist_is_both_in_training_and_in_test(data_directory: Path) -> None:
    dataset = load(data_directory)
    for fold in range(5):
        train, test = dataset.split(fold)
        assert len(test) == 8
        assert len(train) + len(test) == len(dataset)
        assert not set(dataset.artist[train]) & set(dataset.artist[test])


def test_without_a_fold_all_clips_are_for_training(data_directory: Path) -> None:
    train, test = load(data_directory).split(None)
    assert len(train) == 40
    assert len(test) == 0


def test_the_known_group_of_a_clip_limits_its_leaves(data_directory: Path) -> None:
    dataset = load(data_directory)
    row = {identifier: index for index, identifier in enumerate(dataset.ids)}
    labelled = dataset.allowed[row["made/0Soft_rock0"]]
    rock = dataset.allowed[row["made/4Soft_rock1"]]
    assert labelled.sum() == 1
    assert labelled[LABELS.index("Soft_rock")]
    assert [LABELS[index] for index in np.flatnonzero(rock)] == [
        "Adult_alternative_rock",
        "Uplifting_anthemic_rock",
        "Soft_rock",
        "Acoustic_pop",
    ]
    assert dataset.allowed[row["made/4Symphony1"]].tolist() == [True] * 4 + [False] * 12
    assert dataset.allowed[row["made/4Solo1"]].all()


def test_stored_bytes_become_decibels(data_directory: Path) -> None:
    dataset = load(data_directory)
    picture = dataset.cqt_db(0)
    assert picture.shape == (84, 450)
    assert picture[0, 0] == 0.0
    assert picture.min() >= -80.0


def test_teacher_outputs_are_averaged_over_the_crop() -> None:
    windows = np.array([[[0.0], [10.0], [30.0]], [[5.0], [7.0], [0.0]]], dtype=np.float32)
    teacher = Teacher(windows, np.array([3, 2]), seconds=5.0)
    averaged = teacher.over(np.array([0, 0, 1, 1]), np.array([0.0, 4.0, 9.0, 12.0]), seconds=2.0)
    # inside one window; half in each of two; the missing third window does not count; after the last window
    assert averaged[:, 0].tolist() == [0.0, 5.0, 7.0, 7.0]
    assert teacher.mean()[:, 0].tolist() == pytest.approx([40 / 3, 6.0])
