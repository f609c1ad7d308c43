"""The colours of the genres."""

import pytest

from ccmusic.appearance import GENRE_COLOURS, colours
from ccmusic.genres import CCMUSIC, LABELS, taxonomy_of


def test_every_genre_and_group_has_a_colour():
    for level in (16, 9, 2):
        assert {genre.label for genre in CCMUSIC.genres(level)} <= GENRE_COLOURS.keys()
    leaves = [GENRE_COLOURS[label] for label in LABELS]
    assert len(set(leaves)) == 16


@pytest.mark.parametrize("n", [2, 16, 40])
def test_every_genre_of_another_taxonomy_gets_its_own_colour(n):
    found = colours(taxonomy_of("own", [f"genre {i}" for i in range(n)]))
    assert len(set(found.values())) == n
    assert set(colours(CCMUSIC, 9).values()) <= set(GENRE_COLOURS.values())
