import numpy as np
import pytest

from ccmusic.inference.aggregate import flags, softmax, track_probabilities, window_probabilities
from ccmusic.models.card import read_card
from ccmusic.models.card_parts import Calibration
from support.recordings import tone


@pytest.fixture
def card(model_directory):
    return read_card(model_directory / "card.json").model_copy(
        update={
            "too_short_below_seconds": 1.0,
            "uncertain_below": 0.3,
            "calibration": (Calibration(seconds=1.0, temperature=2.0),),
        }
    )


def test_softmax_of_huge_logits_is_finite():
    assert softmax(np.array([1e4, 0.0])).tolist() == [1.0, 0.0]


def test_windows_are_divided_by_the_temperature(card):
    logits = np.log(np.array([[0.81, 0.01]]))  # the square root of 81 is 9
    assert window_probabilities(logits, 1.0, card) == pytest.approx(np.array([[0.9, 0.1]]))


def test_track_is_the_mean_of_its_windows_and_the_levels_agree():
    windows = np.zeros((2, 16))
    windows[0, 0] = 1.0
    windows[1, [4, 15]] = 0.5
    track = track_probabilities(windows)
    assert track[16][[0, 4, 15]].tolist() == [0.5, 0.25, 0.25]
    assert track[2].tolist() == [0.5, 0.5]
    assert track[9].sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("amplitude", "seconds", "truncated", "top", "expected"),
    [
        (0.5, 10.0, False, 0.9, ()),
        (0.0009, 10.0, False, 0.9, ("silence", "uncertain")),
        (0.0011, 10.0, False, 0.9, ()),
        (0.5, 0.9, False, 0.9, ("too_short",)),
        (0.5, 10.0, False, 0.29, ("uncertain",)),
        (0.5, 10.0, True, 0.9, ("truncated",)),
    ],
)
def test_flags(card, amplitude, seconds, truncated, top, expected):
    assert flags(tone(440, 0.5, amplitude), seconds, truncated, top, card) == expected


def test_a_track_is_the_weighted_mean_of_its_windows():
    windows = np.zeros((2, 16))
    windows[0, 0] = windows[1, 1] = 1.0
    assert track_probabilities(windows, weights=np.array([1.0, 0.25]))[16][:2].tolist() == [0.8, 0.2]


def test_a_recording_of_one_sign_is_not_silence(card):
    assert flags(np.full(100, -0.5, np.float32), 10.0, False, 0.9, card) == ()
