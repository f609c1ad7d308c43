"""The base of every record in a model card: frozen, without unknown fields, without NaN or infinity."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]


class Record(BaseModel):
    """A frozen part of a model card."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
