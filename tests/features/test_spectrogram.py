"""Decibels against librosa's, and the cutting with zeros around."""

from __future__ import annotations

import numpy as np
import pytest

from ccmusic.errors import InvalidParameter
from ccmusic.features.spectrogram import cut_padded, power_to_db


def test_power_to_db_equals_librosa(librosa):
    power = np.geomspace(1e-16, 1e6, 84 * 50, dtype=np.float32).reshape(84, 50)
    for top_db in (80.0, 20.0, 0.0):
        reference = librosa.power_to_db(power, ref=np.max, top_db=top_db)
        np.testing.assert_allclose(power_to_db(power, top_db=top_db), reference, atol=1e-4)


def test_silence_is_0_db():
    np.testing.assert_array_equal(power_to_db(np.zeros((84, 3), dtype=np.float32)), 0.0)


def test_values_below_the_floor_become_the_floor():
    np.testing.assert_array_equal(power_to_db(np.array([1e-10, 2e-11, 0.0], dtype=np.float32)), 0.0)


def test_the_input_is_not_changed():
    power = np.ones((84, 3), dtype=np.float32)
    power.flags.writeable = False
    assert power_to_db(power).dtype == np.float32


def test_negative_range_is_refused():
    with pytest.raises(InvalidParameter, match="top_db"):
        power_to_db(np.ones((84, 3), dtype=np.float32), top_db=-1.0)


@pytest.mark.parametrize(("begin", "end"), [(0, 5), (-3, 2), (3, 9), (-2, 8), (-4, -1), (6, 9), (2, 2)])
def test_cut_is_zero_outside(begin, end):
    waveform = np.arange(1, 6, dtype=np.float32)
    expected = [waveform[i] if 0 <= i < 5 else 0.0 for i in range(begin, end)]
    np.testing.assert_array_equal(cut_padded(waveform, begin, end), expected)
