from itertools import pairwise

import pytest

from ccmusic.audio.windows import WindowPlan, cut, parse_windows, upstream_windows
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


def test_a_recording_shorter_than_a_window_is_one_window():
    assert cut(13, 100) == [(0, 13)]
    assert cut(13, 100, count=5) == [(0, 13)]
    assert cut(100, 100) == [(0, 100)]


def test_the_windows_of_a_whole_recording_cover_every_frame():
    places = cut(1000, 300)
    assert (places[0], places[-1]) == ((0, 300), (700, 1000))
    assert len(places) == 4
    assert all(right[0] <= left[1] for left, right in pairwise(places))


def test_thirty_seconds_are_three_windows_of_ten():
    assert len(cut(1292, 431)) == 3


def test_a_requested_number_of_windows_is_evenly_spaced():
    assert cut(1000, 100, count=3) == [(0, 100), (450, 550), (900, 1000)]


def test_a_single_window_is_in_the_middle():
    assert cut(1000, 100, count=1) == [(450, 550)]


def test_no_window_is_repeated():
    assert cut(103, 100, count=50) == [(0, 100), (1, 101), (2, 102), (3, 103)]


@pytest.mark.parametrize(
    ("n_frames", "duration_seconds", "places"),
    [
        # 30 s are 1,292 frames: two windows of 490 and 156 on either side
        (1292, 30.0, [(156, 646), (646, 1136)]),
        # 12.0 s, 517 frames
        (517, 12.0, [(13, 504)]),
        (49, 1.13, [(0, 49)]),
        (1, 1 / 22_050, [(0, 1)]),
    ],
)
def test_upstream_windows(n_frames, duration_seconds, places):
    assert upstream_windows(n_frames, duration_seconds) == places


@pytest.mark.parametrize(
    "n_samples", [1, 511, 5_000, 251_370, 251_371, 300_000, 502_740, 661_500, 5_292_000, 79_380_001]
)
def test_upstream_windows_are_side_by_side_in_the_middle(n_samples):
    n_frames, duration = 1 + n_samples // 512, n_samples / 22_050
    places = upstream_windows(n_frames, duration)
    assert all(left[1] == right[0] for left, right in pairwise(places))
    assert len({end - start for start, end in places}) == 1
    before, after = places[0][0], n_frames - places[-1][1]
    assert before in (after, after - 1)
    length = places[0][1] - places[0][0]
    assert before + after < length
    assert length == (int(11.4 * n_frames / duration) if duration > 11.4 else n_frames)


def test_upstream_windows_of_another_length():
    assert upstream_windows(430, 10.0, window_seconds=5.0) == [(0, 215), (215, 430)]


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan")])
def test_upstream_windows_need_a_positive_duration(duration):
    with pytest.raises(InvalidParameter, match="duration_seconds"):
        upstream_windows(100, duration)


@pytest.mark.parametrize("window_seconds", [0.0, -5.0, 0.001])
def test_upstream_windows_need_at_least_a_frame(window_seconds):
    with pytest.raises(InvalidParameter, match="window_seconds"):
        upstream_windows(431, 10.0, window_seconds)
