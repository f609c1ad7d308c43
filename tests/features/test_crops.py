from __future__ import annotations

import numpy as np
import pytest

from ccmusic.features.crops import rereference, seconds_to_frames


def test_a_crop_is_relative_to_its_own_maximum() -> None:
    cqt_db = np.full((2, 84, 20), -70.0, dtype=np.float32)
    cqt_db[0, 3, 4] = -30.0
    cqt_db[1] = -80.0
    cqt_db[1, 0, 0] = -5.0
    out = rereference(cqt_db)
    assert out[0, 3, 4] == 0.0
    assert out[0, 0, 0] == -40.0
    assert out[1, 5, 5] == -75.0
    assert rereference(np.array([[0.0, -80.0], [-79.0, -100.0]])).min() == -80.0


@pytest.mark.parametrize(("seconds", "frames"), [(0.3, 13), (1.0, 44), (10.0, 431), (30.0, 1292)])
def test_frames_are_those_of_librosa(seconds: float, frames: int) -> None:
    assert seconds_to_frames(seconds) == frames
