"""What travels between the front process and a worker, over a pipe that only these two hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ccmusic.audio.waveform import DecodeLimits
from ccmusic.audio.windows import WindowPlan
from ccmusic.inference.result import ModelIdentity, TrackResult
from ccmusic.models.store import ModelLocation


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """All that a worker is told at its start."""

    location: ModelLocation
    limits: DecodeLimits
    threads: int


@dataclass(frozen=True, slots=True)
class Job:
    """One recording to classify; a path is one of our own files, never a client's words."""

    source: bytes | Path
    plan: WindowPlan
    spectrogram: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has loaded and proved its model."""

    model: ModelIdentity


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker could not load its model, or the job failed; the error belongs to `ccmusic.errors`."""

    error: Exception


Reply = Ready | Failed | TrackResult
