"""The one road: bytes -> waveform -> CQT -> windows -> network -> probabilities -> track result.

The command line, the API, the page, batch jobs, self-tests and evaluation all call it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from ccmusic.audio.decode import DecodeLimits, decode
from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import DependencyUnavailable, ModelRefused
from ccmusic.features import cqt
from ccmusic.genres import LABELS
from ccmusic.inference.aggregate import flags, track_probabilities, window_probabilities
from ccmusic.inference.backend import Backend, Execution, device_for, open_backend
from ccmusic.inference.front_end import FrontEnd, Places
from ccmusic.inference.result import ModelIdentity, TrackResult, Window
from ccmusic.models.card import Card
from ccmusic.models.golden import SIGNALS, recording
from ccmusic.models.store import ModelLocation, read_model

WINDOWS_PER_BATCH = 8
"""Bounds the network's memory on long recordings; larger batches are no faster on a CPU."""
DRAWN_PER_BATCH = 4
"""Of drawn windows, whose networks keep some 40 MB for each; 8 are no faster (`docs/precisions.md`)."""

PICTURE_COLUMNS = 1200
"""Widest picture of a spectrogram."""

GOLDEN_TOLERANCE = 0.02
"""Largest difference of a golden clip's logits between machines that is still the same model on the same road."""

VOUCH_SECONDS = 1.0
"""Length of the sound that follows every answer."""

GOLDEN_LIMITS = DecodeLimits()
"""Our own clips need not fit what an operator allows clients."""


class Pipeline:
    """A model with everything around it; not thread-safe, one recording at a time.

    Parameters
    ----------
    card : Card
    backend : Backend
    limits : DecodeLimits

    Attributes
    ----------
    on_stage : callable
        Told ``decode``, ``features`` and ``inference`` as each begins.
    caveat : str or None
        Why another network of the card runs than the one that it prefers.
    """

    def __init__(self, card: Card, backend: Backend, limits: DecodeLimits | None = None) -> None:
        self.card = card
        self.front_end = FrontEnd(card)
        self.caveat: str | None = None
        self.on_stage: Callable[[str], object] = _nobody_listens
        self._stage = ""
        self.identity = ModelIdentity(card.name, card.version, card.sha256)
        self._backend = backend
        self._limits = limits or DecodeLimits()
        self._known_sound: np.ndarray | None = None

    @classmethod
    def load(
        cls, location: ModelLocation, limits: DecodeLimits | None = None, execution: Execution | None = None
    ) -> Pipeline:
        """Read, check and prove a model.

        Parameters
        ----------
        location : ModelLocation
        limits : DecodeLimits, optional
        execution : Execution, optional
            Where and on how many threads the network runs; one of the processor's by default.

        Returns
        -------
        Pipeline
            Has given the right answer for every golden clip of its card.

        Raises
        ------
        ModelFileNotFound, ModelRefused
        """
        execution = execution or Execution()
        location = location.preferring("float32") if device_for(execution.device) == "cuda" else location
        card, model = read_model(location)
        if card.labels != LABELS:
            raise ModelRefused("the card's labels are not the 16 ccMusic genres in their order")
        try:
            return cls._proved(card, model, limits, execution)
        except (ModelRefused, DependencyUnavailable) as error:
            if location.precision is not None or card.precision == "float32":
                raise
            pipeline = cls.load(replace(location, precision="float32"), limits, execution)
            pipeline.caveat = f"the network in {card.precision} cannot be used on this machine, float32 runs: {error}"
            return pipeline

    @classmethod
    def _proved(cls, card: Card, model: bytes, limits: DecodeLimits | None, execution: Execution) -> Pipeline:
        pipeline = cls(card, open_backend(model, card, execution), limits)
        pipeline.verify()
        return pipeline

    @property
    def backend(self) -> str:
        """Name of what runs the network, and of what it computes in unless that is float32."""
        return self._backend.name + ("" if self.card.precision == "float32" else f"-{self.card.precision}")

    def verify(self) -> str:
        """Ask the golden clips over the whole road, and compare with the card.

        Returns
        -------
        str
            SHA-256 of the answers' bits: on this machine, in this process, the same question has the same answer to
            the last bit, and a flipped bit anywhere on the road changes it. Not comparable between machines.

        Raises
        ------
        ModelRefused
            An answer is not the card's.
        NonFiniteOutput
        """
        bits = hashlib.sha256()
        for clip in self.card.golden:
            if clip.signal not in SIGNALS:
                raise ModelRefused(f"the card names an unknown golden signal {clip.signal!r}")
            waveform = decode(recording(clip.signal, clip.seconds), GOLDEN_LIMITS).waveform
            logits = self._backend.logits(self._one_window(waveform))[0]
            error = float(np.abs(logits - clip.logits).max())
            if error > GOLDEN_TOLERANCE:
                raise ModelRefused(
                    f"golden clip {clip.signal!r}: logits off by {error:.3g}, at most {GOLDEN_TOLERANCE} is allowed"
                )
            bits.update(logits.tobytes())
        return bits.hexdigest()

    def vouch(self) -> bytes:
        """Ask the network about a short known sound, to be compared with what it said when it was fresh.

        Cheap enough to follow every answer: an answer is given only when the network that made it still says the same
        of this sound, bit for bit.

        Returns
        -------
        bytes
            The logits.
        """
        if self._known_sound is None:
            clip = self.card.golden[0]
            seconds = min(clip.seconds, max(VOUCH_SECONDS, self.card.min_seconds))
            self._known_sound = self._one_window(SIGNALS[clip.signal](seconds))
        return self._backend.logits(self._known_sound).tobytes()

    def _one_window(self, waveform: np.ndarray) -> np.ndarray:
        return self.front_end.network_input([self.front_end.spectrogram_db(waveform)])

    def classify(
        self, source: bytes | os.PathLike[str], plan: WindowPlan | None = None, *, spectrogram: bool = False
    ) -> TrackResult:
        """Name the genre of one recording.

        Parameters
        ----------
        source : bytes or path
            An encoded recording.
        plan : WindowPlan, optional
            What to listen to; the whole recording by default.
        spectrogram : bool
            Whether the answer carries the CQT for a picture.

        Returns
        -------
        TrackResult

        Raises
        ------
        AudioError
            The recording cannot be used.
        NonFiniteOutput
            The network answered NaN or infinity.
        """
        plan = plan or WindowPlan()
        timings: dict[str, float] = {}
        self.on_stage("decode")
        self._stage = "decode"
        heard = decode(source, self._limits, first_seconds=plan.first_seconds)
        timings["decode"] = heard.decode_seconds
        timings["resample"] = heard.resample_seconds
        with self._timed(timings, "features"):
            spectrogram_db = self.front_end.spectrogram_db(heard.waveform)
            places = self.front_end.places(spectrogram_db.shape[1], heard.duration_seconds, plan.count)
        logits = self._logits(spectrogram_db, places, timings)
        windows = window_probabilities(logits, min(heard.duration_seconds, self.card.window_seconds), self.card)
        probabilities = track_probabilities(windows)
        return TrackResult(
            model=self.identity,
            duration_seconds=heard.duration_seconds,
            probabilities=probabilities,
            windows=tuple(
                Window(*self._times(place, heard.duration_seconds), row)
                for place, row in zip(places, windows, strict=True)
            ),
            flags=flags(
                heard.waveform,
                heard.duration_seconds,
                heard.truncated,
                float(probabilities[16].max()),
                self.card,
            ),
            timings=timings,
            spectrogram_db=_picture(self._cqt_db(heard.waveform, spectrogram_db)) if spectrogram else None,
        )

    @contextmanager
    def _timed(self, timings: dict[str, float], stage: str) -> Iterator[None]:
        if stage != self._stage:  # or the age of a stage would begin anew with each batch of it
            self.on_stage(stage)
        self._stage = stage
        start = time.perf_counter()
        yield
        timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - start

    def _logits(self, spectrogram_db: np.ndarray, places: Places, timings: dict[str, float]) -> np.ndarray:
        batches = []
        at_once = WINDOWS_PER_BATCH if self.card.drawing is None else DRAWN_PER_BATCH
        drawing = "inference" if self.card.drawing is None else "features"  # what only stacks is no stage of its own
        for first in range(0, len(places), at_once):
            windows = [spectrogram_db[:, start:end] for start, end in places[first : first + at_once]]
            with self._timed(timings, drawing):
                batch = self.front_end.network_input(windows)
            with self._timed(timings, "inference"):
                batches.append(self._backend.logits(batch))
        return np.concatenate(batches)

    def _cqt_db(self, waveform: np.ndarray, spectrogram_db: np.ndarray) -> np.ndarray:
        """What people are shown, whatever the network was fed."""
        return spectrogram_db if self.card.features.kind == "cqt_db" else cqt.cqt_db(waveform)

    @staticmethod
    def _times(place: tuple[int, int], duration_seconds: float) -> tuple[float, float]:
        start, end = (frame / cqt.FRAMES_PER_SECOND for frame in place)
        return min(start, duration_seconds), min(end, duration_seconds)


def _picture(spectrogram_db: np.ndarray) -> np.ndarray:
    """Shrink to at most `PICTURE_COLUMNS`, keeping the loudest of what falls together, and scale 80 dB to 0..255."""
    n_frames = spectrogram_db.shape[1]
    if n_frames > PICTURE_COLUMNS:
        starts = np.linspace(0, n_frames, PICTURE_COLUMNS, endpoint=False).astype(int)
        spectrogram_db = np.maximum.reduceat(spectrogram_db, starts, axis=1)
    return np.clip((spectrogram_db + 80.0) * (255.0 / 80.0), 0, 255).astype(np.uint8)


def _nobody_listens(_: str) -> None:
    """The stage is of no interest outside a worker."""
