"""Statistics of the training set, with which drift detection compares recent recordings."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from ccmusic.models.record import Record, Share


class Spread(Record):
    """Distribution of one quantity over the recordings.

    Attributes
    ----------
    mean, variance : float
    quantiles : tuple of float
        Ascending, at evenly spaced shares from the minimum to the maximum.
    tolerance : float
        Largest distance of the mean rank of other recordings from 0.5 that is not drift. The rank is 0 at the minimum
        of this distribution and 1 at its maximum.
    """

    mean: float
    variance: Annotated[float, Field(ge=0)]
    quantiles: Annotated[tuple[float, ...], Field(min_length=3)]
    tolerance: Annotated[float, Field(ge=0, lt=0.5)] = 0.1

    @model_validator(mode="after")
    def _ascending(self) -> Spread:
        if list(self.quantiles) != sorted(self.quantiles) or self.quantiles[0] == self.quantiles[-1]:
            raise ValueError("quantiles must ascend from the smallest to the largest value")
        return self

    def rank(self, value: float) -> float:
        """Rank of a value in the distribution: 0 at or below the minimum, 1 at or above the maximum."""
        return float(np.interp(value, self.quantiles, np.linspace(0, 1, len(self.quantiles))))


class Reference(Record):
    """Statistics of the training set, measured as the service measures; the mix is ``reference_mix`` of the card.

    Attributes
    ----------
    recordings, artists : int
        Their numbers.
    note : str
        For readers.
    mix_tolerance : tuple of float [length=n_labels]
        Largest distance of a genre's mean probability from ``reference_mix`` that is not drift.
    confidence : Spread or None
        Of the largest probability of a window, averaged over a recording's windows. Unlike the largest probability of
        the track, it does not fall with the number of windows.
    level_dbfs : Spread or None
        Of the root mean square, in decibels of full scale.
    bandwidth_hz : Spread or None
        Of the frequency below which 99 % of the constant-Q power is.
    """

    recordings: Annotated[int, Field(ge=1)]
    artists: Annotated[int, Field(ge=1)] | None = None
    note: str = ""
    mix_tolerance: tuple[Share, ...] | None = None
    confidence: Spread | None = None
    level_dbfs: Spread | None = None
    bandwidth_hz: Spread | None = None
