"""The API's answers as OpenAPI describes them; `TrackResult.as_json` and the health snapshot produce them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class ModelInfo(BaseModel):
    """Which model answered."""

    name: str
    version: str
    sha256: str


class PredictionInfo(BaseModel):
    """One genre, or group of genres, and its probability."""

    genre: str
    label_zh: str
    label_en: str
    probability: float = Field(ge=0, le=1)


class WindowInfo(BaseModel):
    """One stretch of the recording."""

    start_seconds: float
    end_seconds: float
    predictions: list[PredictionInfo]


class Timings(BaseModel):
    """Seconds by stage."""

    queue: float
    decode: float
    resample: float
    features: float
    inference: float


class Classification(BaseModel):
    """Answer of ``POST /v1/classify``."""

    model: ModelInfo
    duration_seconds: float = Field(description="Seconds of sound that were listened to.")
    level: Literal[16, 9, 2]
    predictions: list[PredictionInfo] = Field(description="Likeliest first, at the level asked for.")
    levels: dict[Literal["16", "9", "2"], list[PredictionInfo]] = Field(
        description="Every group of every level, likeliest first."
    )
    windows: list[WindowInfo]
    flags: list[Literal["silence", "too_short", "uncertain", "truncated"]]
    timings: Timings
    request_id: str


class GenreInfo(BaseModel):
    """One genre, or group of genres."""

    genre: str
    label_zh: str
    label_en: str


class LeafInfo(GenreInfo):
    """One of the 16 genres, and where it belongs."""

    level9: str
    level2: str


class Genres(BaseModel):
    """Answer of ``GET /v1/genres``, each level in the order of the network's outputs."""

    level16: list[LeafInfo]
    level9: list[GenreInfo]
    level2: list[GenreInfo]


class ModelState(BaseModel):
    """One model and what it is doing."""

    name: str
    version: str
    sha256: str
    status: Literal["ready"]


class Models(BaseModel):
    """Answer of ``GET /v1/models``: empty until a model has been proved."""

    models: list[ModelState]
    model_status: str = Field(description="`loading`, `ready` or `error`.")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str | None = None
    parameter: str | None = None
