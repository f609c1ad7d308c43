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
from ccmusic.errors import DependencyUnavailable, InvalidParameter, ModelRefused
from ccmusic.features import cqt
from ccmusic.genres import Taxonomy
from ccmusic.inference.aggregate import (
    flags,
    flags_of_head,
    heard_seconds,
    sure_level,
    track_probabilities,
    window_probabilities,
)
from ccmusic.inference.backend import Backend, Execution
from ccmusic.inference.front_end import FrontEnd, Places
from ccmusic.inference.level_and_bandwidth import bandwidth_hz, level_dbfs
from ccmusic.inference.non_music import oddity
from ccmusic.inference.occlusion import BLOCKS, DRAWN_BLOCKS, ExplainPlan, Explanation, chosen_windows, silenced
from ccmusic.inference.onnx_runtime import device_for
from ccmusic.inference.result import ModelIdentity, Reading, TrackResult, Window
from ccmusic.inference.runtimes import open_backend
from ccmusic.models.card import Card, GoldenClip, Head
from ccmusic.models.golden import SIGNALS, recording
from ccmusic.models.non_music_limits import NonMusicLimits
from ccmusic.models.store import ModelLocation, read_model

WINDOWS_PER_BATCH = 8
"""Bounds the network's memory on long recordings; larger batches are no faster on a CPU."""
DRAWN_PER_BATCH = 4
"""Of drawn windows, whose networks keep some 40 MB for each; 8 are no faster (`docs/precisions.md`)."""

PICTURE_COLUMNS = 1200
"""Widest picture of a spectrogram."""

GOLDEN_TOLERANCE = 0.02
"""Largest difference of a golden clip's logits between machines that is still the same model on the same road."""

CANARY_SECONDS = (1.0, 2.0)
"""Lengths of the canary clips."""

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
        self._taxonomies = card.taxonomies
        self._odd_limits = card.odd or NonMusicLimits()
        self._canary_clips: list[np.ndarray] | None = None

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
        card.require_known_labels()
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
            answers = self._backend.all_logits(self._one_window(waveform))
            for name, logits, expected in zip(self._outputs(), answers, self._promised(clip), strict=True):
                error = float(np.abs(logits[0] - expected).max())
                if error > GOLDEN_TOLERANCE:
                    raise ModelRefused(
                        f"golden clip {clip.signal!r} of {clip.seconds:g} s: {name} off by {error:.3g}, "
                        f"at most {GOLDEN_TOLERANCE} is allowed"
                    )
                bits.update(logits.tobytes())
        return bits.hexdigest()

    def canary(self) -> bytes:
        """Run the network on short known clips; the worker compares the bits with those of its start.

        This is cheap enough to follow every answer. A worker returns an answer only if the canary check after it gives
        the same bits as at the start.

        Returns
        -------
        bytes
            The logits of every output.
        """
        if self._canary_clips is None:
            # A network may have other weights for short sounds than for long ones; drawn windows are all of one size.
            lengths = CANARY_SECONDS if self.card.drawing is None else CANARY_SECONDS[:1]
            shortest, longest = self.card.min_seconds, self.card.window_seconds
            self._canary_clips = [
                self._one_window(SIGNALS[self.card.golden[0].signal](min(max(seconds, shortest), longest)))
                for seconds in lengths
            ]
        answers = [logits for sound in self._canary_clips for logits in self._backend.all_logits(sound)]
        return b"".join(logits.tobytes() for logits in answers)

    def _outputs(self) -> tuple[str, ...]:
        return ("logits", *(head.output for head in self.card.heads))

    def _promised(self, clip: GoldenClip) -> tuple[tuple[float, ...], ...]:
        return (clip.logits, *(clip.heads[head.taxonomy] for head in self.card.heads))

    def _one_window(self, waveform: np.ndarray) -> np.ndarray:
        return self.front_end.network_input([self.front_end.spectrogram_db(waveform)])

    def classify(
        self,
        source: bytes | os.PathLike[str],
        plan: WindowPlan | None = None,
        *,
        spectrogram: bool = False,
        explain: ExplainPlan | None = None,
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
        explain : ExplainPlan, optional
            Which windows the answer says the reasons for; none by default.

        Returns
        -------
        TrackResult

        Raises
        ------
        AudioError
            The recording cannot be used.
        InvalidParameter
            There is no such window or genre to explain, or the model cannot be explained.
        NonFiniteOutput
            The network answered NaN or infinity.
        """
        plan = plan or WindowPlan()
        if explain is not None:
            self._check(explain)
        timings: dict[str, float] = {}
        self.on_stage("decode")
        self._stage = "decode"
        heard = decode(source, self._limits, first_seconds=plan.first_seconds)
        timings["decode"] = heard.decode_seconds
        timings["resample"] = heard.resample_seconds
        with self._timed(timings, "features"):
            spectrogram_db = self.front_end.spectrogram_db(heard.waveform)
            places = self.front_end.places(spectrogram_db.shape[1], heard.duration_seconds, plan.count)
            # of the constant-Q transform alone: limits and references for other spectrograms are not known
            is_cqt = self.card.features.kind == "cqt_db"
            bandwidth = bandwidth_hz(spectrogram_db) if is_cqt else None
            odd = oddity(spectrogram_db, self._odd_limits) if is_cqt else None
        logits, *of_heads = self._logits(spectrogram_db, places, timings)
        seconds = heard_seconds(heard.duration_seconds, len(places), self.card)
        windows = window_probabilities(logits, seconds, self.card)
        probabilities = track_probabilities(windows, self._taxonomies[0])
        top = float(probabilities[self._taxonomies[0].level()].max())
        raised = flags(heard.waveform, heard.duration_seconds, heard.truncated, top, self.card, odd)
        odd = "silence" if "silence" in raised else odd
        explanations: tuple[Explanation, ...] = ()
        if explain is not None:
            explanations = self._explained(explain, spectrogram_db, places, windows, heard.duration_seconds, timings)
        return TrackResult(
            model=self.identity,
            duration_seconds=heard.duration_seconds,
            probabilities=probabilities,
            windows=tuple(
                Window(*self._times(place, heard.duration_seconds), row)
                for place, row in zip(places, windows, strict=True)
            ),
            flags=raised,
            timings=timings,
            spectrogram_db=_picture(self._cqt_db(heard.waveform, spectrogram_db)) if spectrogram else None,
            taxonomy=self._taxonomies[0],
            sure_level=sure_level(probabilities, odd, self.card),
            readings=tuple(
                _reading(head, taxonomy, window_probabilities(answer, seconds, head), raised, odd)
                for head, taxonomy, answer in zip(self.card.heads, self._taxonomies[1:], of_heads, strict=True)
            ),
            level_dbfs=level_dbfs(heard.waveform),
            bandwidth_hz=bandwidth,
            odd=odd,
            explanations=explanations,
        )

    @contextmanager
    def _timed(self, timings: dict[str, float], stage: str) -> Iterator[None]:
        if stage != self._stage:  # or the age of a stage would begin anew with each batch of it
            self.on_stage(stage)
        self._stage = stage
        start = time.perf_counter()
        yield
        timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - start

    def _logits(self, spectrogram_db: np.ndarray, places: Places, timings: dict[str, float]) -> list[np.ndarray]:
        """Of every window, by output."""
        return self._answers([spectrogram_db[:, start:end] for start, end in places], timings)

    def _answers(self, windows_db: list[np.ndarray], timings: dict[str, float]) -> list[np.ndarray]:
        batches = []
        at_once = WINDOWS_PER_BATCH if self.card.drawing is None else DRAWN_PER_BATCH
        drawing = "inference" if self.card.drawing is None else "features"  # what only stacks is no stage of its own
        for first in range(0, len(windows_db), at_once):
            with self._timed(timings, drawing):
                batch = self.front_end.network_input(windows_db[first : first + at_once])
            with self._timed(timings, "inference"):
                batches.append(self._backend.all_logits(batch))
        return [np.concatenate(answers) for answers in zip(*batches, strict=True)]

    def _check(self, explain: ExplainPlan) -> None:
        if self.card.features.kind != "cqt_db":
            raise InvalidParameter(
                "explain", "is not possible with this model: only answers from the constant-Q transform are explained"
            )
        if explain.genre is not None and explain.genre not in self.card.labels:
            raise InvalidParameter("genre", f"must be one of {', '.join(self.card.labels)}, not {explain.genre!r}")

    def _explained(
        self,
        explain: ExplainPlan,
        spectrogram_db: np.ndarray,
        places: Places,
        windows: np.ndarray,
        duration_seconds: float,
        timings: dict[str, float],
    ) -> tuple[Explanation, ...]:
        if explain.window is not None and not 0 <= explain.window < len(places):
            raise InvalidParameter("window", f"must be 1 to {len(places)}, not {explain.window + 1}")
        labels = self.card.labels
        genre = int(windows.mean(axis=0).argmax()) if explain.genre is None else labels.index(explain.genre)
        seconds = heard_seconds(duration_seconds, len(places), self.card)
        explanations = []
        for index in chosen_windows(windows[:, genre], explain):
            window_db = spectrogram_db[:, slice(*places[index])]
            copies, shape = silenced(window_db, BLOCKS if self.card.drawing is None else DRAWN_BLOCKS)
            without = window_probabilities(self._answers(copies, timings)[0], seconds, self.card)[:, genre]
            start, end = self._times(places[index], duration_seconds)
            explanations.append(
                Explanation(
                    window=index,
                    start_seconds=start,
                    end_seconds=end,
                    genre=self._taxonomies[0].genres()[genre],
                    probability=float(windows[index, genre]),
                    without=without.reshape(shape),
                    spectrogram_db=_picture(window_db),
                )
            )
        return tuple(explanations)

    def _cqt_db(self, waveform: np.ndarray, spectrogram_db: np.ndarray) -> np.ndarray:
        """What people are shown, whatever the network was fed."""
        return spectrogram_db if self.card.features.kind == "cqt_db" else cqt.cqt_db(waveform)

    @staticmethod
    def _times(place: tuple[int, int], duration_seconds: float) -> tuple[float, float]:
        start, end = (frame / cqt.FRAMES_PER_SECOND for frame in place)
        return min(start, duration_seconds), min(end, duration_seconds)


def _reading(head: Head, taxonomy: Taxonomy, windows: np.ndarray, raised: tuple[str, ...], odd: str | None) -> Reading:
    probabilities = track_probabilities(windows, taxonomy)
    top = float(probabilities[taxonomy.level()].max())
    return Reading(taxonomy, probabilities, windows, flags_of_head(raised, top, head, odd))


def _picture(spectrogram_db: np.ndarray) -> np.ndarray:
    """Shrink to at most `PICTURE_COLUMNS`, keeping the loudest of what falls together, and scale 80 dB to 0..255."""
    n_frames = spectrogram_db.shape[1]
    if n_frames > PICTURE_COLUMNS:
        starts = np.linspace(0, n_frames, PICTURE_COLUMNS, endpoint=False).astype(int)
        spectrogram_db = np.maximum.reduceat(spectrogram_db, starts, axis=1)
    return np.clip((spectrogram_db + 80.0) * (255.0 / 80.0), 0, 255).astype(np.uint8)


def _nobody_listens(_: str) -> None:
    """The stage is of no interest outside a worker."""
