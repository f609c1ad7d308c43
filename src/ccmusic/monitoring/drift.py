"""Whether the music, or what the network makes of it, has moved away from what the model was made with."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

RECORDINGS = 200
"""How many of the last recordings make the present mix; with fewer there is no score."""


def jensen_shannon(reference: np.ndarray, estimated: np.ndarray) -> float:
    """Jensen-Shannon divergence of two distributions, in bits: 0 where they are equal, 1 where they share nothing.

    Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory, 1991.

    Parameters
    ----------
    reference, estimated : np.ndarray [shape=(n,)]
        Shares that sum to 1.

    Returns
    -------
    float
    """
    middle = (reference + estimated) / 2
    return (_relative_entropy(reference, middle) + _relative_entropy(estimated, middle)) / 2


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    present = p > 0
    return float(np.sum(p[present] * np.log2(p[present] / q[present])))


class GenreMix:
    """The mean probabilities of the last recordings that one model answered; another model begins anew.

    Parameters
    ----------
    recordings : int
        How many make the mix.
    """

    def __init__(self, recordings: int = RECORDINGS) -> None:
        self._recordings = recordings
        self._lock = threading.Lock()
        self._last: deque[np.ndarray] = deque(maxlen=recordings)
        self._model: str | None = None

    def note(self, model: str, probabilities: np.ndarray) -> None:
        """Note one answer.

        Parameters
        ----------
        model : str
            Whatever tells one model from another, such as its hash.
        probabilities : np.ndarray [shape=(n_labels,)]
            Of the whole track.
        """
        with self._lock:
            if model != self._model:
                self._last.clear()
                self._model = model
            self._last.append(probabilities)

    def score(self, reference: Sequence[float] | None) -> float | None:
        """Jensen-Shannon divergence from a reference mix, in bits; None without one, or before enough recordings."""
        with self._lock:
            last = list(self._last)
        if reference is None or len(last) < self._recordings:
            return None
        expected = np.asarray(reference, dtype=np.float64)
        return jensen_shannon(expected / expected.sum(), np.mean(last, axis=0))
