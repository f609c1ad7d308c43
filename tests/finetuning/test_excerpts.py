from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ccmusic.finetuning.base_model import BaseModel
from ccmusic.finetuning.excerpts import CUTS, Excerpt, cut_excerpts, run_network, tracks
from ccmusic.finetuning.spectrograms import Spectrogram


def _kept(directory: Path, n_frames: int) -> Spectrogram:
    values = np.tile(np.arange(n_frames) % 160, (84, 1)).astype(np.uint8)
    np.save(directory / f"{n_frames}.npy", values)
    return Spectrogram(directory / f"{n_frames}.npy", n_frames, n_frames / 43.07, str(n_frames))


def test_excerpts_are_the_services_windows_and_shorter_cuts(tmp_path: Path, start: BaseModel) -> None:
    # windows of 2 s are 87 frames; 1 s is 44, 0.3 s is 13; 3 s is no shorter than a window
    excerpts = cut_excerpts([_kept(tmp_path, 200), _kept(tmp_path, 40)], [0, 1], start.card)
    whole = [(e.row, e.first, e.last) for e in excerpts if e.seconds is None]
    long = [place for row, *place in whole if row == 0]
    assert (long[0], long[-1]) == ([0, 87], [113, 200])
    assert [place for row, *place in whole if row == 1] == [[0, 40]]
    assert [(e.first, e.last) for e in excerpts if e.row == 0 and e.seconds == 1.0] == [(0, 44), (78, 122), (156, 200)]
    assert sum(e.seconds == 0.3 for e in excerpts) == 2 * CUTS
    assert not [e for e in excerpts if e.row == 1 and e.seconds == 1.0]
    assert {e.seconds for e in excerpts} == {None, 0.3, 1.0}


def test_a_cut_is_relative_to_its_own_maximum_and_a_window_to_the_recordings(tmp_path: Path) -> None:
    spectrograms = _kept(tmp_path, 200)
    assert Excerpt(0, None, 0, 10).picture(spectrograms).max() == -80 + 4.5
    assert Excerpt(0, 0.3, 0, 10).picture(spectrograms).max() == 0


def test_results_are_in_the_order_of_the_excerpts(tmp_path: Path) -> None:
    spectrograms = [_kept(tmp_path, 150)]
    excerpts = [Excerpt(0, None, i % 7, i % 7 + (5 if i % 3 else 9)) for i in range(90)]
    told: list[int] = []
    answers = run_network(lambda pictures: pictures[:, 0, [0, -1]], excerpts, spectrograms, told.append)
    np.testing.assert_array_equal(answers, [[e.first / 2 - 80, (e.last - 1) / 2 - 80] for e in excerpts])
    assert sum(told) == 90


def test_logits_by_recording() -> None:
    excerpts = [Excerpt(4, None, 0, 9), Excerpt(2, None, 0, 9), Excerpt(4, None, 9, 18), Excerpt(4, 1.0, 0, 3)]
    logits = np.arange(8.0).reshape(4, 2)
    rows, by_window = tracks(excerpts, logits, None)
    assert rows.tolist() == [4, 2]
    np.testing.assert_array_equal(by_window, [[[0, 1], [4, 5]], [[2, 3], [np.nan, np.nan]]])
    rows, by_window = tracks(excerpts, logits, 1.0)
    assert rows.tolist() == [4]
    assert by_window.tolist() == [[[6, 7]]]
    assert tracks(excerpts, logits, 0.3)[1].shape == (0, 0, 2)


@pytest.mark.parametrize("count", [1, 3])
def test_cuts_of_one_recording_are_tracks_of_their_own(count: int) -> None:
    excerpts = [Excerpt(0, 0.3, i, i + 13) for i in range(count)]
    rows, by_window = tracks(excerpts, np.zeros((count, 2)), 0.3)
    assert rows.tolist() == [0] * count
    assert by_window.shape == (count, 1, 2)
