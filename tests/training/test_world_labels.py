from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from ccmusic.training.data import load
from ccmusic.training.world_labels import WORLD, WorldLabels, artists, soft_world_targets, world_labels

COLUMNS = ("artist", "source", "tags", "label")


def _labels(directory: Path, *rows: tuple[str, str, str, str]) -> list[tuple[str, str]]:
    with (directory / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    labels = world_labels(directory)
    return [(WORLD[i] if i >= 0 else "", basis) for i, basis in zip(labels.label, labels.basis, strict=True)]


def test_every_listed_artist_has_a_world_genre():
    assert set(artists().values()) == set(WORLD) - {"Classical"}
    assert artists()["bob marley"] == "Reggae"


def test_an_artist_comes_before_a_tag_and_a_tag_before_a_genre(tmp_path: Path):
    assert _labels(
        tmp_path,
        ("bob marley", "taffc", "Jazz", "Dance_pop"),
        ("other", "taffc", "Jazz", "Dance_pop"),
        ("other", "taffc", "Pop/Rock", "Dance_pop"),
        ("other", "emotify", "classical", ""),
        ("other", "wesnoth", "", "Symphony"),
        ("other", "mirex", "", "Soft_rock"),
    ) == [
        ("Reggae", "artist"), ("Jazz", "tag"), ("Pop", "genre"), ("Classical", "folder"), ("Classical", "folder"),
        ("", ""),
    ]  # fmt: skip


def test_targets_are_only_for_training_clips(data_directory: Path):
    dataset = load(data_directory)
    labels = WorldLabels(dataset.label % 5, np.full(len(dataset), "artist"))
    train, _ = dataset.split(0)
    targets = soft_world_targets(dataset, labels, train)
    assert np.isnan(targets[dataset.fold == 0]).all()
    assert targets[train].sum(axis=1) == pytest.approx(1, abs=1e-4)
