"""The API's answers as OpenAPI describes them; `TrackResult.as_json` and the health snapshot produce them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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


class ExplanationInfo(BaseModel):
    """Why a window is taken for a genre."""

    genre: str
    probability: float = Field(ge=0, le=1)
    octave_hz: list[float] = Field(description="Edges of the rows of `without`, the lowest first.")
    block_seconds: list[float] = Field(description="Edges of the columns of `without`, in the recording.")
    without: list[list[float]] = Field(description="What the probability would be without each part.")
    words_en: str
    words_zh: str


class WindowInfo(BaseModel):
    """One stretch of the recording."""

    start_seconds: float
    end_seconds: float
    predictions: list[PredictionInfo]
    saliency: ExplanationInfo | None = Field(None, description="Only with `explain=true`, and of some windows.")


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
    taxonomy: str = Field(description="Whose genres: `ccmusic`, `world`, or `own` for a model's own labels.")
    level: int
    predictions: list[PredictionInfo] = Field(description="Likeliest first, at the level asked for.")
    levels: dict[str, list[PredictionInfo]] = Field(description="Every group of every level, likeliest first.")
    windows: list[WindowInfo]
    flags: list[Literal["silence", "too_short", "uncertain", "truncated"]]
    odd: Literal["silence", "empty", "tone", "pulses", "noise", "speech"] | None = Field(
        None, description="What the recording seems to be instead of music; `uncertain` is then among the flags."
    )
    timings: Timings
    sure_level: int | None = Field(
        None,
        description="The finest level that the answer is sure of; null when it is of none. "
        "Absent when the model has no thresholds for it.",
    )
    request_id: str


class GenreInfo(BaseModel):
    """One genre, or group of genres; one of the 16 ccMusic genres also has the groups that it belongs to."""

    genre: str
    label_zh: str
    label_en: str
    level9: str | None = None
    level2: str | None = None


class Genres(BaseModel):
    """Answer of ``GET /v1/genres``: ``level16``, ``level9``, ``level2`` for the ccMusic taxonomy, one for others.

    Each level is in the order of the network's outputs.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, list[GenreInfo]]

    taxonomy: str


class TaxonomyInfo(BaseModel):
    """A set of genres that a model answers in."""

    name: str
    levels: list[int] = Field(description="Named by how many groups each has, finest first.")


class ModelState(BaseModel):
    """One model and what it is doing."""

    name: str
    version: str
    sha256: str
    status: Literal["ready"]
    taxonomies: list[TaxonomyInfo] = Field(description="The first is what answers are in unless another is asked for.")


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
