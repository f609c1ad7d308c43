import numpy as np
import pytest

from ccmusic.features.cqt import FMIN
from ccmusic.inference.level_and_bandwidth import QUIETEST_DBFS, bandwidth_hz, level_dbfs


def test_level_in_decibels_of_full_scale():
    square = np.tile([0.5, -0.5], 3_000_000).astype(np.float32)
    assert level_dbfs(square) == pytest.approx(-6.0206, abs=1e-3)
    assert level_dbfs(np.sin(np.arange(22050) * 0.3).astype(np.float32)) == pytest.approx(-3.01, abs=0.01)
    assert level_dbfs(np.zeros(100, np.float32)) == QUIETEST_DBFS


def test_nearly_all_of_the_power_is_below_the_bandwidth():
    spectrogram = np.full((84, 9000), -80.0, np.float32)
    spectrogram[48] = 0.0  # C5, four octaves up
    assert bandwidth_hz(spectrogram) == pytest.approx(FMIN * 16, rel=0.06)
    spectrogram[72] = -30.0  # a thousandth of the power is too little to count
    assert bandwidth_hz(spectrogram) == pytest.approx(FMIN * 16, rel=0.06)
    spectrogram[72] = -10.0
    assert bandwidth_hz(spectrogram) == pytest.approx(FMIN * 64, rel=0.06)
