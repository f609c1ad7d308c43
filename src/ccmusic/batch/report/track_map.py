"""A two-dimensional map of a library: similar tracks are near each other.

The method is principal component analysis: of the acoustic identities of the recordings, or, if most have none, of the
square roots of the probabilities (their distance is then the Hellinger distance).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ccmusic.genres import Taxonomy

if TYPE_CHECKING:
    from ccmusic.batch.track_row import TrackRow

MOST_POINTS = 20_000
"""Tracks on the map. Of a larger library, every n-th is drawn."""

FEWEST_POINTS = 3

EDGE = 1000
"""Coordinates of points are integers from 0 to this number."""

OUTER_PERCENT = 0.5
"""Tracks at each end of an axis that do not set the scale, so that a few odd ones do not squeeze all others."""

MARGIN = 0.06
"""Of the map at each edge, for these. Those that are still further out are drawn at the edge."""


@dataclass(frozen=True)
class LibraryMap:
    """Places of tracks.

    Attributes
    ----------
    method : str
        ``embedding`` or ``probabilities``.
    n_values : int
        Numbers that describe each track.
    shares : tuple of float
        The parts of all variance that the two axes hold.
    ids : np.ndarray [shape=(n,), dtype=int64]
        Of the tracks.
    points : np.ndarray [shape=(n, 2), dtype=int64]
        From 0 to `EDGE`.
    n_left_out : int
        Tracks whose description has another length than that of most.
    """

    method: str
    n_values: int
    shares: tuple[float, float]
    ids: np.ndarray
    points: np.ndarray
    n_left_out: int


class MapMaker:
    """Collects the descriptions of tracks.

    Parameters
    ----------
    n_tracks : int
        Number of answers in the catalogue.
    taxonomy : Taxonomy
        Of the probabilities.
    """

    def __init__(self, n_tracks: int, taxonomy: Taxonomy) -> None:
        self._step = max(1, -(-n_tracks // MOST_POINTS))
        self._n_seen = 0
        self._order = {label: i for i, label in enumerate(taxonomy.labels)}
        self._embeddings: list[tuple[int, bytes]] = []
        self._probabilities: list[tuple[int, np.ndarray]] = []

    def add(self, track: TrackRow, answer: dict[str, Any]) -> bool:
        """Keep the description of a track; returns whether it is on the map."""
        self._n_seen += 1
        if (self._n_seen - 1) % self._step:
            return False
        if track.embedding:
            self._embeddings.append((track.id, track.embedding))
        row = np.zeros(len(self._order), dtype=np.float32)
        for prediction in answer["predictions"]:
            row[self._order[prediction["genre"]]] = prediction["probability"]
        self._probabilities.append((track.id, np.sqrt(row)))
        return True

    def finish(self) -> LibraryMap | None:
        """Return the map; None if there are fewer than three tracks."""
        if len(self._probabilities) < FEWEST_POINTS:
            return None
        # a few tracks with embeddings, of another version perhaps, are no map of the library
        if len(self._embeddings) * 2 > len(self._probabilities):
            length = Counter(len(data) for _, data in self._embeddings).most_common(1)[0][0]
            kept = [(number, data) for number, data in self._embeddings if len(data) == length and length % 2 == 0]
            vectors = np.frombuffer(b"".join(data for _, data in kept), dtype="<f2").reshape(len(kept), -1)
            method = "embedding"
        else:
            kept = [(number, b"") for number, _ in self._probabilities]
            vectors = np.array([row for _, row in self._probabilities])
            method = "probabilities"
        ids = np.array([number for number, _ in kept], dtype=np.int64)
        finite = np.isfinite(vectors).all(axis=1)
        ids, vectors = ids[finite], vectors[finite]
        if len(ids) < FEWEST_POINTS:
            return None
        places, shares = project(vectors)
        left_out = len(self._probabilities) - len(ids)
        return LibraryMap(method, vectors.shape[1], shares, ids, _on_the_page(places), left_out)


BLOCK = 2000
"""Rows that are calculated with at a time: the embeddings stay float16."""


def project(vectors: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """The first two principal components.

    Parameters
    ----------
    vectors : np.ndarray [shape=(n, n_values)]

    Returns
    -------
    np.ndarray [shape=(n, 2), dtype=float64]
        Each axis has the direction in which its largest weight is positive: the map does not turn over by chance.
    tuple of float
        The parts of the variance that the axes hold.
    """
    n, n_values = vectors.shape
    mean = np.mean(vectors, axis=0, dtype=np.float64)
    covariance = np.zeros((n_values, n_values))
    for start in range(0, n, BLOCK):
        block = vectors[start : start + BLOCK].astype(np.float64) - mean
        covariance += block.T @ block
    weights, axes = np.linalg.eigh(covariance)
    axes = axes[:, [-1, -2]] if n_values > 1 else np.hstack([axes, np.zeros((1, 1))])
    axes *= np.where(np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0) < 0, -1, 1)
    places = np.concatenate(
        [(vectors[start : start + BLOCK].astype(np.float64) - mean) @ axes for start in range(0, n, BLOCK)]
    )
    total = max(float(weights.sum()), 1e-12)
    second = float(weights[-2]) if n_values > 1 else 0.0
    return places, (max(float(weights[-1]), 0.0) / total, max(second, 0.0) / total)


def _on_the_page(places: np.ndarray) -> np.ndarray:
    low, high = np.percentile(places, [OUTER_PERCENT, 100 - OUTER_PERCENT], axis=0)
    # one scale for both axes: a distance means the same in both
    width = max(float((high - low).max()), 1e-9)
    centred = (places - (low + high) / 2) / width * (1 - 2 * MARGIN) + 0.5
    return np.asarray(np.rint(np.clip(centred, 0, 1) * EDGE), dtype=np.int64)
