"""The groups of a genre."""

from __future__ import annotations

import pytest

from ccmusic.batch.genre_groups import groups_of


@pytest.mark.parametrize(
    ("taxonomy", "level", "label", "groups"),
    [
        ("ccmusic", 16, "Soft_rock", ["Soft_rock", "Rock", "Non_classic"]),
        ("ccmusic", 9, "Rock", ["Rock", "Non_classic"]),
        ("ccmusic", 2, "Classic", ["Classic"]),
        ("world", 16, "Jazz", ["Jazz"]),
        ("own", 3, "Jazz", ["Jazz"]),
        ("ccmusic", 16, "Rock", ["Rock"]),  # no label of this level
        ("ccmusic", 5, "Rock", ["Rock"]),  # no such level
    ],
)
def test_the_groups_of_a_genre_finest_first(taxonomy, level, label, groups):
    assert [group.label for group in groups_of(taxonomy, level, label)] == groups


def test_a_group_has_its_names():
    assert [group.label_zh for group in groups_of("ccmusic", 16, "Soft_rock")] == ["软摇滚", "摇滚", "非古典"]
