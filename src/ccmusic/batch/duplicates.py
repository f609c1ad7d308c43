"""Groups of tracks that are one recording in several encodings, by acoustic embedding and duration.

Two tracks are the same recording if their durations differ by at most `MAX_SECONDS_APART` and both parts of their
embeddings by at most `MAX_PROFILE_DISTANCE` and `MAX_MOVEMENT_DISTANCE`. The limits are far below the distances of
different recordings (docs/batch.md): a duplicate that is not found costs less than two recordings that are taken for
one. For the same reason every member of a group is compared with its first member; a chain of similar tracks is not one
recording. Tracks without an embedding are in no group.

Tracks are compared only with those of nearly the same duration, in blocks. If very many have the same duration (a
collection of clips of 30 s), they are divided by random projections of their embeddings: similar embeddings are likely
to get the same code, in several independent divisions more so. So the time grows with the number of tracks, not with
its square. Embeddings are kept in a temporary file (512 MB for a million tracks), and not in memory.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import IO

import numpy as np

from ccmusic.batch.catalogue import Catalogue
from ccmusic.batch.disk_errors import temporary_file_errors
from ccmusic.inference.acoustic_identity import EMBEDDING_SIZE, PROFILE_SIZE

MAX_SECONDS_APART = 0.5
"""Encoders add less than 0.1 s at both ends."""
MAX_PROFILE_DISTANCE = 0.15
MAX_MOVEMENT_DISTANCE = 0.25

MAX_NEIGHBOURS = 16384
"""If a track has more tracks of nearly its duration, all are divided."""
_DIVIDED_INTO = 2048
"""About so many of them get the same code."""
_DIVISIONS = 6
"""Tracks at the largest movement distance get the same bit of a code with probability 0.92, at half of it 0.96."""
_MAX_BITS = 12
_BLOCK = 1024
_SAMPLE = 4096
_DTYPE = np.dtype("<f2")


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a track from others.

    Attributes
    ----------
    track : int
        Its id.
    duration_seconds : float
    embedding : bytes
        256 numbers, little-endian float16.
    """

    track: int
    duration_seconds: float
    embedding: bytes


def identities(catalogue: Catalogue) -> Iterator[Identity]:
    """Those of all tracks with an answer that have one, by id."""
    rows = catalogue.connection.execute(
        "SELECT id, duration_seconds, embedding FROM tracks "
        "WHERE status IN ('ok', 'stale') AND embedding IS NOT NULL AND duration_seconds IS NOT NULL ORDER BY id"
    )
    return (Identity(*row) for row in rows)


def duplicate_groups(found: Iterable[Identity]) -> list[tuple[int, ...]]:
    """Group the tracks that are the same recording.

    Parameters
    ----------
    found : iterable of Identity
        In any order. An embedding of another size or with NaN is left out.

    Returns
    -------
    list of tuple of int
        The ids of each group of two or more, ascending; a track is in at most one group.

    Raises
    ------
    InsufficientStorage, InvalidParameter
        The temporary file cannot be written.
    """
    with temporary_file_errors(), tempfile.TemporaryFile() as file:
        rows = _Rows(file, found)
        parents = np.arange(len(rows))
        for codes in _divisions(rows):
            _connect_similar(rows, codes, parents)
        groups = [group for members in _components(parents) for group in _stars(rows, members)]
    return sorted(tuple(sorted(rows.tracks[group].tolist())) for group in groups)


class _Rows:
    """Tracks in ascending order of duration; the embeddings are in a file."""

    def __init__(self, file: IO[bytes], found: Iterable[Identity]) -> None:
        tracks, seconds = array("q"), array("d")
        for identity in found:
            if _is_usable(identity.embedding):
                file.write(identity.embedding)
                tracks.append(identity.track)
                seconds.append(identity.duration_seconds)
        file.flush()
        self._file = file
        self._places = np.lexsort((tracks, seconds))
        self.tracks: np.ndarray = np.array(tracks)[self._places]
        self.seconds: np.ndarray = np.array(seconds)[self._places]

    def __len__(self) -> int:
        return len(self.tracks)

    def parts(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Profile and movement of some rows [shape=(n, size), dtype=float32]."""
        # mapped again for each block: pages of an old mapping would count as memory of this process
        stored = np.memmap(self._file, _DTYPE, "r", shape=(len(self), EMBEDDING_SIZE))
        chosen = stored[self._places[rows]].astype(np.float32)
        return chosen[:, :PROFILE_SIZE], chosen[:, PROFILE_SIZE:]


def _is_usable(embedding: bytes) -> bool:
    return len(embedding) == EMBEDDING_SIZE * _DTYPE.itemsize and bool(
        np.isfinite(np.frombuffer(embedding, _DTYPE)).all()
    )


def _divisions(rows: _Rows) -> Iterator[np.ndarray]:
    """Codes of all rows [shape=(n,)]: only rows with the same code are compared. One code if the rows are few."""
    ends = np.searchsorted(rows.seconds, rows.seconds + MAX_SECONDS_APART, "right")
    densest = int((ends - np.arange(len(rows))).max(initial=0))
    n_bits = min(_MAX_BITS, int(np.ceil(np.log2(densest / _DIVIDED_INTO)))) if densest > MAX_NEIGHBOURS else 0
    if not n_bits:
        yield np.zeros(len(rows), np.int64)
        return
    random = np.random.default_rng(1)
    sample = rows.parts(np.linspace(0, len(rows) - 1, _SAMPLE).astype(int))[1]
    for _ in range(_DIVISIONS):
        directions = random.standard_normal((EMBEDDING_SIZE - PROFILE_SIZE, n_bits)).astype(np.float32)
        middle = np.median(sample @ directions, axis=0)
        blocks = (np.arange(first, min(first + _SAMPLE, len(rows))) for first in range(0, len(rows), _SAMPLE))
        bits = np.concatenate([rows.parts(block)[1] @ directions > middle for block in blocks])
        yield bits @ (1 << np.arange(n_bits))


def _connect_similar(rows: _Rows, codes: np.ndarray, parents: np.ndarray) -> None:
    """Join each row with the first row that is the same recording and has the same code."""
    order = np.lexsort((rows.seconds, codes))
    ends = _ends(codes[order], rows.seconds[order])
    is_free = np.ones(len(rows), bool)  # by place in `order`: not yet joined with an earlier row
    for first in range(0, len(rows), _BLOCK):
        block = first + np.flatnonzero(is_free[first : first + _BLOCK])
        if not len(block):
            continue
        profiles, movements = rows.parts(order[block])
        last = int(ends[block].max())
        for start in range(int(block[0]), last, _BLOCK):
            others = start + np.flatnonzero(is_free[start : min(start + _BLOCK, last)])
            other_profiles, other_movements = rows.parts(order[others])
            # One product for all pairs, then the distances of few of them. Of length 1, half the square would do.
            near = movements @ other_movements.T > 1.0 - MAX_MOVEMENT_DISTANCE**2
            near &= (others > block[:, np.newaxis]) & (others < ends[block, np.newaxis])
            for i in np.flatnonzero(near.any(axis=1)).tolist():
                j = np.flatnonzero(near[i] & is_free[others])
                if is_free[block[i]] and len(j):
                    j = j[_same(other_profiles[j] - profiles[i], other_movements[j] - movements[i])]
                    is_free[others[j]] = False
                    for joined in order[others[j]].tolist():
                        _join(parents, int(order[block[i]]), joined)


def _ends(codes: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Of each row: the place after the last row that it is compared with."""
    ends = np.empty(len(codes), np.int64)
    bounds = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    for first, last in pairwise(bounds):
        of_code = seconds[first:last]
        ends[first:last] = first + np.searchsorted(of_code, of_code + MAX_SECONDS_APART, "right")
    return np.minimum(ends, np.arange(len(codes)) + 2 * MAX_NEIGHBOURS)  # if a division is very uneven


def _same(profiles: np.ndarray, movements: np.ndarray) -> np.ndarray:
    """Whether differences of embeddings are small enough [shape=(n,)]."""
    return np.asarray(
        (np.linalg.norm(profiles, axis=1) <= MAX_PROFILE_DISTANCE)
        & (np.linalg.norm(movements, axis=1) <= MAX_MOVEMENT_DISTANCE)
    )


def _join(parents: np.ndarray, one: int, other: int) -> None:
    one, other = _root(parents, one), _root(parents, other)
    parents[max(one, other)] = min(one, other)


def _root(parents: np.ndarray, row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = int(parents[row])
    return row


def _components(parents: np.ndarray) -> Iterator[np.ndarray]:
    """The joined rows, ascending, where there are two or more."""
    members: dict[int, list[int]] = {}
    for row in np.flatnonzero(parents != np.arange(len(parents))).tolist():
        root = _root(parents, row)
        members.setdefault(root, [root]).append(row)
    return (np.array(sorted(rows)) for rows in members.values())


def _stars(rows: _Rows, members: np.ndarray) -> Iterator[np.ndarray]:
    """Divide joined rows into groups in which all are the same recording as the first."""
    while len(members) > 1:
        profile, movement = rows.parts(members[:1])
        is_same = rows.seconds[members] - rows.seconds[members[0]] <= MAX_SECONDS_APART
        for first in range(0, len(members), _SAMPLE):
            profiles, movements = rows.parts(members[first : first + _SAMPLE])
            is_same[first : first + _SAMPLE] &= _same(profiles - profile, movements - movement)
        if is_same.sum() > 1:
            yield members[is_same]
        members = members[~is_same]
