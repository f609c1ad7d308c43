"""The map of a library."""

from __future__ import annotations

import numpy as np
import pytest

from ccmusic.batch.exports import answer_of
from ccmusic.batch.report import track_map
from ccmusic.batch.report.track_map import EDGE, MapMaker, project
from ccmusic.genres import CCMUSIC
from support.catalogue_rows import answer, answered


def map_of(tracks):
    maker = MapMaker(len(tracks), CCMUSIC)
    for track in tracks:
        maker.add(track, answer_of(track))
    return maker.finish()


def with_embedding(number, vector):
    return answered(number, f"/{number}", answer("Opera", 0.5), embedding=np.asarray(vector, "<f2").tobytes())


def test_similar_tracks_are_near_each_other():
    tracks = [answered(i, f"/{i}", answer(("Opera", "Soft_rock")[i % 2], 0.7 + 0.01 * i)) for i in range(20)]
    found = map_of(tracks)
    assert (found.method, found.n_values, found.n_left_out) == ("probabilities", 16, 0)
    left, right = found.points[found.ids % 2 == 0], found.points[found.ids % 2 == 1]
    within = max(np.ptp(left[:, 0]), np.ptp(right[:, 0]))
    assert abs(left[:, 0].mean() - right[:, 0].mean()) > 3 * within
    assert found.points.min() >= 0
    assert found.points.max() <= EDGE
    assert found.shares[0] > 0.9


def test_embeddings_are_used_where_most_tracks_have_them():
    rng = np.random.default_rng(1)
    tracks = [with_embedding(i, rng.normal(size=8)) for i in range(10)]
    other = [
        with_embedding(10, rng.normal(size=6)),
        with_embedding(11, [np.nan] * 8),
        answered(12, "/12", answer("Opera", 0.5)),
        answered(13, "/13", answer("Opera", 0.5), embedding=b"odd"),
    ]
    found = map_of(tracks + other)
    assert (found.method, found.n_values, found.n_left_out) == ("embedding", 8, 4)
    assert found.ids.tolist() == list(range(10))
    assert (
        map_of(tracks[:2] + [answered(i, "/a", answer("Opera", 0.5)) for i in range(20, 24)]).method == "probabilities"
    )


def test_the_projection_is_the_principal_components():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(200, 5)) * [1, 9, 1, 4, 1] + 100
    places, shares = project(vectors)
    centred = vectors - vectors.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    assert shares == pytest.approx(tuple(sizes[:2] ** 2 / (sizes**2).sum()))
    assert np.abs(places) == pytest.approx(np.abs(centred @ axes[:2].T))
    assert places[np.argmax(vectors[:, 1]), 0] > 0  # the largest weight is positive


def test_the_blocks_make_no_difference(monkeypatch):
    vectors = np.random.default_rng(3).normal(size=(50, 4))
    whole = project(vectors)
    monkeypatch.setattr(track_map, "BLOCK", 7)
    parts = project(vectors)
    assert parts[0] == pytest.approx(whole[0])


@pytest.mark.parametrize("vectors", [np.ones((5, 3)), np.arange(5.0)[:, None]])
def test_tracks_that_are_alike_have_a_map_too(vectors):
    places, shares = project(vectors)
    assert places.shape == (5, 2)
    assert np.isfinite(places).all()
    assert 0 <= shares[0] <= 1 + 1e-9
    assert shares[1] == pytest.approx(0, abs=1e-9)


def test_a_few_odd_tracks_do_not_squeeze_the_others():
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(1000, 2))
    vectors[:2] = [1000, 1000]
    found = map_of([with_embedding(i, vector) for i, vector in enumerate(vectors)])
    assert np.ptp(found.points[2:], axis=0).min() > EDGE / 2
    assert found.points.max() == EDGE


def test_a_large_library_is_drawn_evenly(monkeypatch):
    monkeypatch.setattr(track_map, "MOST_POINTS", 10)
    tracks = [answered(i, f"/{i}", answer("Opera", 0.5 + i / 100)) for i in range(25)]
    assert map_of(tracks).ids.tolist() == list(range(0, 25, 3))


@pytest.mark.parametrize("n", [0, 2])
def test_a_map_needs_three_tracks(n):
    assert map_of([answered(i, f"/{i}", answer("Opera", 0.5)) for i in range(n)]) is None
