"""The responses of the API for OpenAPI; `TrackResult.as_json` and the routes produce them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ModelInfo(BaseModel):
    """The model that gave the answer."""

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
    """Which parts of a window support a genre, found by occlusion."""

    genre: str
    probability: float = Field(ge=0, le=1)
    octave_hz: list[float] = Field(description="Edges of the rows of `without` in Hz, lowest first.")
    block_seconds: list[float] = Field(description="Edges of the columns of `without`, in seconds of the recording.")
    without: list[list[float]] = Field(description="Probability of the genre with one part silenced, for each part.")
    words_en: str
    words_zh: str


class WindowInfo(BaseModel):
    """One window of the recording."""

    start_seconds: float
    end_seconds: float
    predictions: list[PredictionInfo]
    saliency: ExplanationInfo | None = Field(None, description="Only with `explain=true`, and only for some windows.")


class Timings(BaseModel):
    """Seconds spent in each stage."""

    queue: float
    decode: float
    resample: float
    features: float
    inference: float


class Classification(BaseModel):
    """Response of ``POST /v1/classify``."""

    model: ModelInfo
    duration_seconds: float = Field(description="Seconds of audio that were analysed.")
    taxonomy: str = Field(description="Taxonomy of the genres: `ccmusic`, `world`, or `own` for a model's own labels.")
    level: int
    predictions: list[PredictionInfo] = Field(description="Likeliest first, at the requested level.")
    levels: dict[str, list[PredictionInfo]] = Field(description="Every group of every level, likeliest first.")
    windows: list[WindowInfo]
    flags: list[Literal["silence", "too_short", "uncertain", "truncated", "out_of_phase"]]
    odd: Literal["silence", "empty", "tone", "pulses", "noise", "speech"] | None = Field(
        None,
        description="What the recording seems to be instead of music. The flags then include `uncertain`.",
    )
    timings: Timings
    sure_level: int | None = Field(
        None,
        description="The finest level at which the answer is reliable; null if there is none. "
        "Absent if the model has no thresholds for it.",
    )
    request_id: str


class GenreInfo(BaseModel):
    """One genre, or group of genres. Each of the 16 ccMusic genres also names its groups."""

    genre: str
    label_zh: str
    label_en: str
    level9: str | None = None
    level2: str | None = None


class Genres(BaseModel):
    """Response of ``GET /v1/genres``: ``level16``, ``level9`` and ``level2`` for the ccMusic taxonomy.

    Other taxonomies have one level. The genres of a level are in the order of the network's outputs.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, list[GenreInfo]]

    taxonomy: str


class TaxonomyInfo(BaseModel):
    """A set of genres that a model can name."""

    name: str
    levels: list[int] = Field(description="Each level is named by its number of groups; finest first.")


class ModelState(BaseModel):
    """One model and its state."""

    name: str
    version: str
    sha256: str
    status: Literal["ready"]
    taxonomies: list[TaxonomyInfo] = Field(description="The first is the default.")


class Models(BaseModel):
    """Response of ``GET /v1/models``; `models` is empty until a model has passed its self-test."""

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
