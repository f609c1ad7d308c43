"""The messages between the front process and a worker. `wire` makes bytes of them, `message_stream` carries them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ccmusic.audio.limits import DecodeLimits
from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import CcmusicError
from ccmusic.inference.occlusion import ExplainPlan
from ccmusic.inference.result import TrackResult
from ccmusic.models.store import ModelLocation
from ccmusic.workers.served_model import ServedModel


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a worker needs to start.

    Attributes
    ----------
    fault_injection : bool
        Whether faults can be injected at all.
    faults : tuple of (str, float)
        Names and sizes of the faults that are active from the start.
    max_descriptors, max_file_bytes : int
        See `ccmusic.process.sandbox.bound_process`.
    sandbox : bool
        Whether `ccmusic.process.sandbox.close_network` is called.
    """

    location: ModelLocation
    limits: DecodeLimits
    threads: int
    niceness: int = 0
    fault_injection: bool = False
    faults: tuple[tuple[str, float], ...] = ()
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    max_descriptors: int = 256
    max_file_bytes: int = 16 * 2**20
    sandbox: bool = True


@dataclass(frozen=True, slots=True)
class Job:
    """One recording to classify. A path is a temporary file of the service, never a path from a client.

    `client` is who sent it: an address, or empty if it is not known.
    """

    source: bytes | Path
    plan: WindowPlan
    spectrogram: bool
    explain: ExplainPlan | None = None
    client: str = ""

    def take(self) -> bytes | Path:
        """The recording. The job no longer holds it, so that its memory is free once it is decoded."""
        source = self.source
        object.__setattr__(self, "source", b"")
        return source


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Classify the golden clips and compare with the signature taken at the start."""


@dataclass(frozen=True, slots=True)
class Inject:
    """Inject a fault from `faults.FAULTS`."""

    fault: str
    size: float


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has loaded and verified its model. `self_test_seconds` is the time of one self-test."""

    served: ServedModel
    self_test_seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker could not load its model, or the job failed. The error is one of `ccmusic.errors`."""

    error: CcmusicError


@dataclass(frozen=True, slots=True)
class SelfTested:
    """The result of a self-test; `cause` says why it failed, and is None if the answers equal those at the start."""

    seconds: float
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault has been injected; `changes` is the number of places in memory that it changed."""

    changes: int = 0


Order = Job | SelfTest | Inject
Reply = Ready | Failed | TrackResult | SelfTested | Injected
Message = WorkerOptions | Order | Reply

ORDERS: tuple[type[Order], ...] = (Job, SelfTest, Inject)
LOADED: tuple[type[Reply], ...] = (Ready, Failed)
"""What a worker may send first."""
REPLIES: dict[type[Order], tuple[type[Reply], ...]] = {
    Job: (TrackResult, Failed),
    SelfTest: (SelfTested,),
    Inject: (Injected,),
}
"""What a worker may answer to each order."""
