import pickle

import numpy as np
import pytest

from ccmusic.errors import InvalidParameter
from ccmusic.genres import CCMUSIC, LABELS, LEAVES, WORLD, roll_up, taxonomy_of


def test_the_labels_have_the_order_of_the_checkpoints_outputs():
    # the trap named in the field: some code puts Soul at index 4
    assert LABELS[:5] == ("Symphony", "Opera", "Solo", "Chamber", "Pop_vocal_ballad")
    assert LABELS.index("Soul_or_RnB") == 11
    assert LABELS[15] == "Acoustic_pop"


def test_acoustic_pop_is_in_the_group_rock():
    assert LEAVES[15].level9 == "Rock"


@pytest.mark.parametrize("level", [16, 9, 2])
def test_each_level_has_as_many_groups_as_its_name_says(level):
    assert len({group.label for group in CCMUSIC.genres(level)}) == level


def test_roll_up_sums_the_finest_level():
    leaves = np.arange(16.0)
    by_label = dict(zip([g.label for g in CCMUSIC.genres(9)], roll_up(leaves, 9), strict=True))
    assert by_label["Rock"] == 12 + 13 + 14 + 15
    assert by_label["Dance_and_house"] == 7 + 8
    assert roll_up(leaves, 2).tolist() == [0 + 1 + 2 + 3, sum(range(4, 16))]


def test_roll_up_keeps_leading_axes():
    assert roll_up(np.ones((3, 5, 16)), 9).shape == (3, 5, 9)


def test_world_has_one_level_and_names_in_both_languages():
    assert WORLD.sizes == (16,)
    assert WORLD.labels[:2] == ("Blues", "Classical")
    assert WORLD.labels[13:] == ("R&B", "Rap", "World")
    assert len({genre.label_zh for genre in WORLD.genres()}) == len(set(WORLD.labels)) == 16
    with pytest.raises(InvalidParameter, match="level must be 16, not 9"):
        WORLD.roll_up(np.ones(16), 9)


def test_an_own_taxonomy_has_its_labels():
    own = taxonomy_of("own", ("sea", "wind"))
    assert [(genre.label, genre.label_en, genre.label_zh) for genre in own.genres()] == [(x, x, x) for x in own.labels]
    assert own.roll_up(np.array([0.4, 0.6])).tolist() == [0.4, 0.6]


def test_a_taxonomy_is_pickled_by_its_name():
    assert pickle.loads(pickle.dumps(CCMUSIC)) is CCMUSIC
    own = taxonomy_of("own", ("sea", "wind"))
    assert pickle.loads(pickle.dumps(own)) == own


def test_roll_up_refuses_other_levels():
    with pytest.raises(InvalidParameter, match="level must be one of 16, 9, 2, not 4"):
        roll_up(np.ones(16), 4)
