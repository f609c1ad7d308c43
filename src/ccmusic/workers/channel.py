"""What travels between the front process and a worker, over a pipe that only these two hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ccmusic.audio.waveform import DecodeLimits
from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import CcmusicError
from ccmusic.genres import CCMUSIC, Taxonomy
from ccmusic.inference.occlusion import ExplainPlan
from ccmusic.inference.result import ModelIdentity, TrackResult
from ccmusic.models.store import ModelLocation
from ccmusic.models.training_profile import Reference


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """All that a worker is told at its start.

    Attributes
    ----------
    fault_injection : bool
        Whether faults may be injected at all; `faults` are those that hold from the start.
    """

    location: ModelLocation
    limits: DecodeLimits
    threads: int
    niceness: int = 0
    fault_injection: bool = False
    faults: tuple[tuple[str, float], ...] = ()
    device: Literal["auto", "cpu", "cuda"] = "cpu"


@dataclass(frozen=True, slots=True)
class Job:
    """One recording to classify; a path is one of our own files, never a client's words."""

    source: bytes | Path
    plan: WindowPlan
    spectrogram: bool
    explain: ExplainPlan | None = None


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Ask the golden clips and compare with the signature taken at the start."""


@dataclass(frozen=True, slots=True)
class Inject:
    """Bring about a fault, from `faults.FAULTS`."""

    fault: str
    size: float


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has loaded and proved its model, which took `self_test_seconds` on this machine.

    Attributes
    ----------
    reference_mix : tuple of float or None [length=n_labels]
    reference : Reference or None
        As in the model's card.
    caveat : str or None
        Why another network of the card runs than the one that it prefers.
    taxonomies : tuple of Taxonomy
        What the model answers in, its own labels' first.
    """

    model: ModelIdentity
    backend: str
    self_test_seconds: float
    reference_mix: tuple[float, ...] | None = None
    caveat: str | None = None
    reference: Reference | None = None
    taxonomies: tuple[Taxonomy, ...] = (CCMUSIC,)


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker could not load its model, or the job failed; the error belongs to `ccmusic.errors`."""

    error: CcmusicError


@dataclass(frozen=True, slots=True)
class SelfTested:
    """Whether the golden clips were answered as at the start, bit for bit."""

    seconds: float
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Injected:
    """What the injection did; `changes` counts the places in memory that it altered."""

    changes: int = 0


Order = Job | SelfTest | Inject
Reply = Ready | Failed | TrackResult | SelfTested | Injected
