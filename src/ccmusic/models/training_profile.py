"""What recordings were like when the model was made: what drift is told from."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Spread(_Record):
    """How one number was spread over the recordings.

    Attributes
    ----------
    mean, variance : float
    quantiles : tuple of float
        Ascending, at evenly spaced shares from the smallest to the largest value.
    tolerance : float
        How far the mean rank of other recordings (0 the smallest of these, 1 the largest; 0.5 on average) may lie from
        0.5 and still be no news.
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
        """Where a value stands among the recordings: 0 at or below the smallest, 1 at or above the largest."""
        return float(np.interp(value, self.quantiles, np.linspace(0, 1, len(self.quantiles))))


class Reference(_Record):
    """The recordings that a model was made with, as the service would have measured them; the mix is the card's.

    Attributes
    ----------
    recordings, artists : int
        How many there were.
    note : str
        What a reader should know of them.
    mix_tolerance : tuple of float [length=n_labels]
        How far a genre's mean probability may lie from ``reference_mix`` and still be no news.
    confidence : Spread or None
        Of the mean over a recording's windows of the largest probability: unlike that of the whole track it does not
        fall with the number of windows.
    level_dbfs : Spread or None
        Of the root mean square, in decibels of full scale.
    bandwidth_hz : Spread or None
        Of the frequency below which 99 % of the constant-Q power lies.
    """

    recordings: Annotated[int, Field(ge=1)]
    artists: Annotated[int, Field(ge=1)] | None = None
    note: str = ""
    mix_tolerance: tuple[Share, ...] | None = None
    confidence: Spread | None = None
    level_dbfs: Spread | None = None
    bandwidth_hz: Spread | None = None
