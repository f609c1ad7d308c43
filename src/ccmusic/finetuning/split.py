"""Chooses the held-out artists, so that the model is measured on artists that it was not trained on."""

from __future__ import annotations

import numpy as np

from ccmusic.errors import InvalidParameter


def held_out(reference: np.ndarray, units: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Choose whole artists until a share of every label's recordings is held out.

    Parameters
    ----------
    reference : np.ndarray [shape=(n,), dtype=int]
        Labels.
    units : np.ndarray [shape=(n,), dtype=int]
        Artists; one may have several labels.
    share : float
        Wanted of each label; the result exceeds it by as little as whole artists allow.
    seed : int

    Returns
    -------
    np.ndarray [shape=(n,), dtype=bool]
        True where a recording is held out.
    tuple of int
        Labels without a held-out recording: one artist has them all, and is trained on.

    Raises
    ------
    InvalidParameter
        Nothing can be held out.
    """
    counts = np.zeros((units.max() + 1, reference.max() + 1), dtype=int)
    np.add.at(counts, (units, reference), 1)
    totals = counts.sum(axis=0)
    out = np.zeros(len(counts), dtype=bool)
    order = np.random.default_rng(seed).permutation(len(counts))
    # the label with the fewest artists has the least choice: it comes first
    for label in np.argsort((counts > 0).sum(axis=0), kind="stable"):
        for unit in order:
            if counts[out, label].sum() >= share * totals[label]:
                break
            # of each label of this artist, some recordings must remain to train on
            left = counts[~out].sum(axis=0) - counts[unit]
            if not out[unit] and counts[unit, label] and (left[counts[unit] > 0] > 0).all():
                out[unit] = True
    if not out.any():
        raise InvalidParameter(
            "--holdout",
            "cannot be met: no label has recordings of two artists. Add some, or omit the artists if recordings of one "
            "artist are not more alike than those of two",
        )
    missing = tuple(int(label) for label in np.flatnonzero(counts[out].sum(axis=0) == 0))
    return out[units], missing
