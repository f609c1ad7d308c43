import numpy as np
import pytest

from ccmusic.features.cqt import cqt_db
from ccmusic.inference.acoustic_identity import EMBEDDING_SIZE, MIN_SECONDS, PROFILE_SIZE, acoustic_embedding
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.store import locate
from support.recordings import SAMPLE_RATE, melody, tone, wav


def embedding(waveform):
    return acoustic_embedding(cqt_db(waveform))


def distances(one, other):
    difference = embedding(one).astype(np.float64) - embedding(other).astype(np.float64)
    return np.linalg.norm(difference[:PROFILE_SIZE]), np.linalg.norm(difference[PROFILE_SIZE:])


def test_two_parts_of_length_one_in_512_bytes():
    found = embedding(melody(1))
    assert found.shape == (EMBEDDING_SIZE,)
    assert found.dtype == np.float16
    assert found.nbytes == 512
    for part in (found[:PROFILE_SIZE], found[PROFILE_SIZE:]):
        assert np.linalg.norm(part.astype(np.float64)) == pytest.approx(1.0, abs=1e-3)


def test_the_same_bits_again():
    assert embedding(melody(1)).tobytes() == embedding(melody(1)).tobytes()


def test_the_level_changes_nothing():
    assert max(distances(melody(1), 0.1 * melody(1))) < 0.01


def test_a_delay_changes_little():
    delayed = np.concatenate([np.zeros(round(0.05 * SAMPLE_RATE), np.float32), melody(1, 30.0)])
    assert max(distances(melody(1, 30.0), delayed)) < 0.2


def test_different_songs_are_far_apart():
    songs = [embedding(melody(seed)).astype(np.float64) for seed in range(8)]
    movement = [np.linalg.norm((a - b)[PROFILE_SIZE:]) for i, a in enumerate(songs) for b in songs[:i]]
    assert min(movement) > 0.8


def test_another_performance_differs_in_its_movement():
    profile, movement = distances(melody(1), melody(1)[::-1])  # the same notes at other times
    assert profile < 0.1
    assert movement > 0.8


def test_another_key_differs_in_its_profile():
    assert distances(melody(1), melody(1, transposed=1))[0] > 0.25


def test_an_added_voice_differs():
    assert distances(melody(1), melody(1) + 0.5 * melody(2))[1] > 0.3


def test_a_short_recording_has_none():
    n_samples = round(MIN_SECONDS * SAMPLE_RATE)
    assert embedding(melody(1)[: n_samples - 1024]) is None
    assert embedding(melody(1)[: n_samples + 1024]) is not None


def noise(seconds):
    bits = np.random.PCG64(7).random_raw(round(seconds * SAMPLE_RATE))
    return (bits / 2.0**64 - 0.5).astype(np.float32)


@pytest.mark.parametrize(
    "waveform",
    [
        pytest.param(np.zeros(20 * SAMPLE_RATE, np.float32), id="silence"),
        pytest.param(tone(440.0, 20.0), id="tone"),
        pytest.param(noise(20.0), id="noise"),
        pytest.param(np.tile(melody(1, 0.5), 128), id="loop"),
    ],
)
def test_what_does_not_move_has_none(waveform):
    assert embedding(waveform) is None


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline.load(locate("embedded"))


def without_timings(result):
    return {name: value for name, value in result.as_json().items() if name != "timings"}


def test_the_pipeline_gives_it_only_on_request(pipeline):
    recording = wav(melody(1), form="FLAC")
    usual, requested = pipeline.classify(recording), pipeline.classify(recording, embedding=True)
    assert usual.embedding is None
    assert pipeline.classify(recording, spectrogram=True).embedding is None
    assert requested.embedding == pytest.approx(embedding(melody(1)), abs=1e-3)  # of 16 bits
    assert without_timings(requested) == without_timings(usual)
    assert requested.leaves.tobytes() == usual.leaves.tobytes()


def test_what_is_no_music_has_none(pipeline):
    chirps = np.tile(np.concatenate([tone(440.0, 0.3), tone(880.0, 0.2), np.zeros(4000, np.float32)]), 12)
    changing = np.concatenate([chirps, 0.1 * chirps])
    assert embedding(changing) is not None
    found = pipeline.classify(wav(changing), embedding=True)
    assert found.odd is not None
    assert found.embedding is None
