from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ccmusic.audio.decode import SAMPLE_RATE, DecodeLimits
from ccmusic.evaluation.model_answers import classify_all, cuts
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.store import ModelLocation
from support.recordings import bin_frequency, tone, wav


def test_cuts_are_spread_evenly() -> None:
    waveform = np.arange(5 * SAMPLE_RATE)
    one, two, three = cuts(waveform, 1.0)
    assert (one[0], two[0], three[-1]) == (0, 2 * SAMPLE_RATE, len(waveform) - 1)
    assert len(one) == len(two) == len(three) == SAMPLE_RATE


@pytest.mark.parametrize(("length", "n_cuts"), [(0.94, 0), (0.96, 1), (1.04, 1), (1.1, 3)])
def test_a_recording_of_nearly_that_length_is_used_whole(length: float, n_cuts: int) -> None:
    waveform = np.zeros(round(length * SAMPLE_RATE))
    found = cuts(waveform, 1.0)
    assert len(found) == n_cuts
    if n_cuts == 1:
        assert len(found[0]) == len(waveform)


def test_answers_are_those_of_the_service(tmp_path: Path, knowing: Path, confused: Path) -> None:
    path = tmp_path / "changing.wav"
    path.write_bytes(wav(np.concatenate([tone(bin_frequency(2), 2), tone(bin_frequency(12), 2)])))
    locations = [ModelLocation(str(directory), directory) for directory in (knowing, confused)]
    told: list[None] = []
    (heard,), refused = classify_all(
        locations, [path], [1.0, 30.0], jobs=1, limits=DecodeLimits(), on_done=lambda: told.append(None)
    )
    assert refused == {}
    assert len(told) == 1
    assert heard is not None
    for location, answer in zip(locations, heard, strict=True):
        pipeline = Pipeline.load(location)
        np.testing.assert_allclose(answer.probabilities, pipeline.classify(path).leaves)
        assert list(answer.by_seconds) == [1.0]  # it is shorter than 30 s
    begin, _, end = heard[0].by_seconds[1.0]
    assert (begin.argmax(), end.argmax()) == (0, 2)


def test_unusable_recordings_are_reported(tmp_path: Path, knowing: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no recording")
    paths = [tmp_path / "broken.wav", tmp_path / "absent.wav"]
    heard, refused = classify_all([ModelLocation(str(knowing), knowing)], paths, [], jobs=1, limits=DecodeLimits())
    assert heard == [None, None]
    assert list(refused) == paths
    assert "text file" in refused[paths[0]]
