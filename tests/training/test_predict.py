from __future__ import annotations

import numpy as np

from ccmusic.training.predict import clip_of, track_windows


def test_a_track_is_cut_as_the_service_cuts_it() -> None:
    track = np.tile(np.arange(1292, dtype=np.float32), (84, 1))
    windows = track_windows(track)
    assert windows.shape == (3, 84, 431)
    assert windows[:, 0, 0].tolist() == [0.0, 430.0, 861.0]
    assert windows[-1, 0, -1] == 1291
    assert track_windows(track[:, :100]).shape == (1, 84, 100)


def test_a_crop_is_relative_to_its_own_maximum() -> None:
    track = np.full((84, 900), -60.0, dtype=np.float32)
    track[3, 5] = 0
    assert clip_of(track, 3.0, 1.0).max() == 0
    assert clip_of(track, 3.0, 1.0).min() == 0
    assert clip_of(track, 3.0, 0.0)[0, 0] == -60
    assert clip_of(track, 3.0, 0.0).shape == (84, 130)
