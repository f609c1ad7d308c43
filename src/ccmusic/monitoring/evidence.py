"""A sequential test with a guaranteed rate of false alarms for any distribution of the numbers."""

from __future__ import annotations

import numpy as np

STAKES = np.array([0.1, 0.3, 0.6, 0.9])
"""Stakes of the parallel bets, as shares of the largest possible loss; small stakes detect small shifts."""
CEILING = 4.0
"""The evidence is capped at this multiple of the limit, so that it falls again after the cause has ended. A warning
ends when the evidence is below the limit divided by this number."""


class Evidence:
    """Evidence that the means of numbers between 0 and 1 differ from the expected means, updated by each recording.

    For each number and each side of its expected mean, a bet starts at every recording. It is multiplied by
    ``1 + stake * (value - mean) / mean`` (or its mirror image), whose expectation is at most 1 as long as the
    conditional mean is within the tolerance. The sum over all bets is a Shiryaev-Roberts e-detector: its expectation
    after `n` recordings is at most `n` for any distribution. The same holds for the mean over numbers, sides and
    stakes. It follows for a limit `L`: without drift, the limit is first reached after at least `L` recordings on
    average, and within `n` recordings with a probability of at most ``n / L``.

    Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", The New England
    Journal of Statistics in Data Science, 2023; the bets: Waudby-Smith and Ramdas, "Estimating means of bounded random
    variables by betting", Journal of the Royal Statistical Society B, 2024.

    Parameters
    ----------
    expected : np.ndarray [shape=(n,)]
        Means, strictly between 0 and 1.
    tolerance : np.ndarray [shape=(n,)]
        Allowed distance between expected and true means.
    limit : float
        Evidence that counts as drift.
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
        """Add the numbers of one recording [shape=(n,)], each from 0 to 1."""
        growth = np.stack(
            [
                1.0 + self._stake_above * (values - self._above),
                1.0 + self._stake_below * (self._below - values),
            ]
        )
        self._sums = (1.0 + self._sums) * growth
        # The cap only reduces the evidence, so the guarantee holds. It scales all bets alike.
        self._sums *= min(1.0, CEILING * self._limit / max(self.total, 1.0))
        if self.total >= self._limit:
            self.reached = True
        elif self.total < self._limit / CEILING:
            self.reached = False

    @property
    def total(self) -> float:
        """The evidence, to be compared with the limit."""
        return float(self._sums.mean())

    @property
    def strongest(self) -> tuple[int, bool]:
        """Index of the number with the most evidence, and whether it is larger than expected (else smaller)."""
        side, _, index = np.unravel_index(int(self._sums.argmax()), self._sums.shape)
        return int(index), side == 0
