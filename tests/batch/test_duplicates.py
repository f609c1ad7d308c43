from dataclasses import replace

import numpy as np
import pytest

from ccmusic.audio.decode import DecodeLimits, decode
from ccmusic.batch import duplicates
from ccmusic.batch.catalogue import Catalogue
from ccmusic.batch.duplicates import Identity, duplicate_groups, identities
from ccmusic.batch.track_row import TrackRow
from ccmusic.features.cqt import cqt_db
from ccmusic.inference.acoustic_identity import EMBEDDING_SIZE, PROFILE_SIZE, acoustic_embedding
from support.encoding import with_ffmpeg, with_soundfile
from support.recordings import SAMPLE_RATE, melody


def test_ids_of_equal_embeddings():
    one, other = random_embeddings(2)
    found = [identity(7, one), identity(3, other), identity(5, one), identity(9, one, 201.0), identity(4, other, 200.4)]
    assert duplicate_groups(found) == [(3, 4), (5, 7)]
    assert duplicate_groups(reversed(found)) == [(3, 4), (5, 7)]
    assert duplicate_groups([]) == []


def identity(track, embedding, seconds=200.0):
    return Identity(track, seconds, embedding.astype("<f2").tobytes())


def random_embeddings(n, seed=1):
    return normalised(np.random.default_rng(seed).standard_normal((n, EMBEDDING_SIZE)))


def normalised(embeddings):
    parts = embeddings[..., :PROFILE_SIZE], embeddings[..., PROFILE_SIZE:]
    return np.concatenate([part / np.linalg.norm(part, axis=-1, keepdims=True) for part in parts], axis=-1)


@pytest.mark.parametrize(("part", "limit"), [(slice(0, 1), 0.15), (slice(PROFILE_SIZE, PROFILE_SIZE + 1), 0.25)])
def test_each_part_has_its_limit(part, limit):
    zeros = np.zeros(EMBEDDING_SIZE)
    zeros[[PROFILE_SIZE - 1, EMBEDDING_SIZE - 1]] = 1.0

    def groups(distance):
        moved = zeros.copy()
        moved[part] = distance
        return duplicate_groups([identity(1, zeros), identity(2, moved)])

    assert groups(0.95 * limit) == [(1, 2)]
    assert groups(1.05 * limit) == []


@pytest.mark.parametrize("neighbours", [16384, 2])
def test_a_chain_is_not_one_recording(monkeypatch, neighbours):
    monkeypatch.setattr(duplicates, "MAX_NEIGHBOURS", neighbours)
    monkeypatch.setattr(duplicates, "_DIVIDED_INTO", neighbours)
    start, end = random_embeddings(2)
    steps = [normalised((1 - share) * start + share * end) for share in np.linspace(0, 0.5, 12)]
    groups = duplicate_groups(identity(number, step) for number, step in enumerate(steps))
    assert 1 < len(groups) < 12
    for group in groups:
        distance = np.linalg.norm((steps[group[0]] - steps[group[-1]])[PROFILE_SIZE:])
        assert distance <= 0.25


def test_unusable_embeddings_are_left_out():
    (one,) = random_embeddings(1)
    broken = np.where(np.arange(EMBEDDING_SIZE) == 3, np.inf, one)
    short = Identity(5, 200.0, b"\0" * 100)
    assert duplicate_groups([identity(1, broken), identity(2, broken), short, short, identity(4, one)]) == []


@pytest.mark.parametrize("neighbours", [16384, 512])
def test_a_thousand_clips_of_one_duration(monkeypatch, neighbours):
    monkeypatch.setattr(duplicates, "MAX_NEIGHBOURS", neighbours)
    monkeypatch.setattr(duplicates, "_DIVIDED_INTO", neighbours // 32)
    monkeypatch.setattr(duplicates, "_BLOCK", 128)
    different = random_embeddings(1000)
    noisy = normalised(different[::50] + 0.005 * np.random.default_rng(2).standard_normal((20, EMBEDDING_SIZE)))
    groups = duplicate_groups(identity(number, row) for number, row in enumerate([*different, *noisy]))
    assert groups == [(50 * number, 1000 + number) for number in range(20)]


def test_copies_of_one_clip_take_one_comparison_each(monkeypatch):
    compared = []
    same = duplicates._same
    monkeypatch.setattr(duplicates, "_same", lambda *parts: compared.append(len(parts[0])) or same(*parts))
    (one,) = random_embeddings(1)
    assert duplicate_groups(identity(number, one) for number in range(5000)) == [tuple(range(5000))]
    assert sum(compared) < 3 * 5000


SECONDS = 16.0


@pytest.fixture(scope="module")
def songs():
    return [melody(seed, SECONDS) for seed in range(3)]


def stereo(waveform, rate):
    import soxr

    return np.repeat(soxr.resample(waveform, SAMPLE_RATE, rate)[:, np.newaxis], 2, axis=1)


ENCODINGS = {
    "wav": lambda song: with_soundfile("WAV", "PCM_16", song[:, np.newaxis], SAMPLE_RATE),
    "quiet": lambda song: with_soundfile("WAV", "PCM_16", 0.25 * song[:, np.newaxis], SAMPLE_RATE),
    "late": lambda song: with_soundfile(
        "WAV", "PCM_16", np.concatenate([np.zeros(1102, np.float32), song]), SAMPLE_RATE
    ),
    "mp3": lambda song: with_soundfile("MP3", None, stereo(song, 44_100)),
    "ogg": lambda song: with_soundfile("OGG", "VORBIS", stereo(song, 44_100)),
    "opus": lambda song: with_soundfile("OGG", "OPUS", stereo(song, 48_000), 48_000),
    "aac": lambda song: with_ffmpeg("adts", "aac", stereo(song, 48_000)),
}


def identity_of(track, content):
    recording = decode(content, DecodeLimits())
    return identity(track, acoustic_embedding(cqt_db(recording.waveform)), recording.duration_seconds)


def test_each_song_in_all_encodings_is_one_group(songs):
    encoded = [encode(song) for song in songs for encode in ENCODINGS.values()]
    groups = duplicate_groups(identity_of(number, content) for number, content in enumerate(encoded))
    n = len(ENCODINGS)
    assert groups == [tuple(range(first, first + n)) for first in range(0, n * len(songs), n)]


def test_versions_of_a_song_are_no_duplicates(songs):
    song, voice = songs[:2]
    versions = [song, song[::-1], song + 0.5 * voice, melody(0, SECONDS, transposed=1), melody(0, SECONDS, tempo=1.03)]
    assert duplicate_groups(identity_of(i, ENCODINGS["wav"](version)) for i, version in enumerate(versions)) == []


def test_identities_of_a_catalogue(tmp_path):
    one, other = random_embeddings(2)
    kinds = [(one, 200.0), (other, 100.0), (None, 200.0), (one, None), (one, 200.1)]
    with Catalogue.open(tmp_path) as catalogue:
        with catalogue.transaction():
            for number, (embedding, seconds) in enumerate(kinds, 1):
                stored = None if embedding is None else embedding.astype("<f2").tobytes()
                row = TrackRow(number, b"/%d.mp3" % number, f"/{number}.mp3", "ok")
                catalogue.record(replace(row, duration_seconds=seconds, embedding=stored))
        assert duplicate_groups(identities(catalogue)) == [(1, 5)]
