"""A sequential test with a stated rate of false alarms that assumes nothing of how the numbers are distributed."""

from __future__ import annotations

import numpy as np

STAKES = np.array([0.1, 0.3, 0.6, 0.9])
"""Shares of what may be lost that are staked on each number, side by side; small ones find small shifts."""
CEILING = 4.0
"""So many times the limit is as far as evidence grows, so that it falls again once the cause is gone; a warning ends at
this fraction of the limit."""


class Evidence:
    """Evidence, gathered one by one, that the means of numbers between 0 and 1 are not what they should be.

    For each number and each side of its expected mean, a bet is begun at every recording: it multiplies by
    ``1 + stake * (value - mean) / mean`` (or its mirror image), whose expectation is at most 1 while the mean given
    all that came before lies within the tolerance. The sum over all bets begun so far is a Shiryaev-Roberts e-detector:
    its expectation after `n` recordings is at most `n`, whatever the distribution. So is that of the mean over numbers,
    sides and stakes. From this follow, for a limit `L`: the first time that it is reached comes after `L` recordings or
    more on average, and within `n` recordings with a probability of at most ``n / L``.

    Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", The New England
    Journal of Statistics in Data Science, 2023; the bets: Waudby-Smith and Ramdas, "Estimating means of bounded random
    variables by betting", Journal of the Royal Statistical Society B, 2024.

    Parameters
    ----------
    expected : np.ndarray [shape=(n,)]
        Means, strictly between 0 and 1.
    tolerance : np.ndarray [shape=(n,)]
        How far they may lie from the true ones.
    limit : float
        At which the evidence suffices.
    """

    def __init__(self, expected: np.ndarray, tolerance: np.ndarray, limit: float) -> None:
        self._limit = limit
        self._above = np.minimum(expected + tolerance, 1.0)
        self._below = np.maximum(expected - tolerance, 0.0)
        self._stake_above = STAKES[:, None] / self._above
        self._stake_below = STAKES[:, None] / (1.0 - self._below)
        self._sums = np.zeros((2, len(STAKES), len(expected)))
        self.reached = False

    def note(self, values: np.ndarray) -> None:
        """Take in one recording's numbers [shape=(n,)], each from 0 to 1."""
        growth = np.stack(
            [
                1.0 + self._stake_above * (values - self._above),
                1.0 + self._stake_below * (self._below - values),
            ]
        )
        self._sums = (1.0 + self._sums) * growth
        # The ceiling only ever takes away, so the promise stands; from all alike, so that the strongest stays it.
        self._sums *= min(1.0, CEILING * self._limit / max(self.total, 1.0))
        if self.total >= self._limit:
            self.reached = True
        elif self.total < self._limit / CEILING:
            self.reached = False

    @property
    def total(self) -> float:
        """The evidence: compared with the limit."""
        return float(self._sums.mean())

    @property
    def strongest(self) -> tuple[int, bool]:
        """Which number speaks loudest, and whether it is larger than expected (else smaller)."""
        side, _, index = np.unravel_index(int(self._sums.argmax()), self._sums.shape)
        return int(index), side == 0
