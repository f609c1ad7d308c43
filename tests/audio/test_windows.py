from itertools import pairwise

import pytest

from ccmusic.audio.windows import WindowPlan, cut, parse_windows
from ccmusic.errors import InvalidParameter


@pytest.mark.parametrize(
    ("value", "plan"),
    [
        ("whole", WindowPlan()),
        ("first30", WindowPlan(first_seconds=30.0)),
        ("7", WindowPlan(count=7)),
        (7, WindowPlan(count=7)),
        ("1000", WindowPlan(count=1000)),
    ],
)
def test_parse(value, plan):
    assert parse_windows(value) == plan


@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "1001", "all", "٣", "1e3", "9" * 5000])
def test_parse_refuses(value):
    with pytest.raises(InvalidParameter, match="windows must be `whole`, `first30` or an integer from 1 to 1000"):
        parse_windows(value)


def test_shorter_than_a_window_is_one_window_of_its_own_length():
    assert cut(13, 100) == [(0, 13)]
    assert cut(13, 100, count=5) == [(0, 13)]
    assert cut(100, 100) == [(0, 100)]


def test_whole_covers_every_frame_from_the_first_to_the_last():
    places = cut(1000, 300)
    assert (places[0], places[-1]) == ((0, 300), (700, 1000))
    assert len(places) == 4
    assert all(right[0] <= left[1] for left, right in pairwise(places))


def test_thirty_seconds_are_three_windows_of_ten():
    assert len(cut(1292, 431)) == 3


def test_count_is_kept_and_spread_evenly():
    assert cut(1000, 100, count=3) == [(0, 100), (450, 550), (900, 1000)]


def test_one_window_lies_in_the_middle():
    assert cut(1000, 100, count=1) == [(450, 550)]


def test_no_window_is_heard_twice():
    assert cut(103, 100, count=50) == [(0, 100), (1, 101), (2, 102), (3, 103)]
