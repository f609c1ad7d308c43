"""The pipeline: bytes -> waveform -> spectrogram -> windows -> logits -> probabilities -> `TrackResult`.

`Pipeline.classify` shows the steps in their order. The command line, the API, the page, self-tests and evaluation all
call it, so that an answer does not depend on the interface.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ccmusic.audio.budget import NO_KERNEL, Kernel
from ccmusic.audio.decode import DecodeLimits, decode
from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import DependencyUnavailable, ModelRefused
from ccmusic.features import cqt
from ccmusic.features.display import display_image
from ccmusic.features.spectrogram import HOP_LENGTH
from ccmusic.genres import Taxonomy
from ccmusic.inference.acoustic_identity import acoustic_embedding
from ccmusic.inference.aggregate import (
    analysed_seconds,
    flags,
    flags_of_head,
    sure_level,
    track_probabilities,
    window_probabilities,
)
from ccmusic.inference.backend import Backend, Execution
from ccmusic.inference.level_and_bandwidth import bandwidth_hz, level_dbfs
from ccmusic.inference.loaded_network import LoadedNetwork
from ccmusic.inference.music_parts import Part, music_parts, place_windows
from ccmusic.inference.non_music import detect_non_music
from ccmusic.inference.occlusion import (
    BLOCKS,
    DRAWN_BLOCKS,
    ExplainPlan,
    Explanation,
    explain_windows,
    require_explainable,
)
from ccmusic.inference.onnx_runtime import device_for
from ccmusic.inference.result import HeadResult, ModelIdentity, TrackResult, Window, chosen_taxonomy
from ccmusic.inference.runtimes import open_backend
from ccmusic.inference.stages import StageTimer
from ccmusic.models.card import Card
from ccmusic.models.card_parts import Head
from ccmusic.models.non_music_limits import NonMusicLimits
from ccmusic.models.store import ModelLocation, read_model


class Pipeline:
    """A loaded model with everything around it; not thread-safe, one recording at a time.

    Parameters
    ----------
    card : Card
    backend : Backend
    limits : DecodeLimits, optional

    Attributes
    ----------
    network : LoadedNetwork
    on_stage : callable
        Called with ``decode``, ``features`` and ``inference`` when each begins.
    caveat : str or None
        Why another network of the card runs than the preferred one.
    kernel : Kernel
        The kernel's bounds while a recording is decoded; none by default.
    quiet : bool
        Whether what decoders print is discarded: only in a process that does nothing else while it decodes.
    """

    def __init__(self, card: Card, backend: Backend, limits: DecodeLimits | None = None) -> None:
        self.card = card
        self.network = LoadedNetwork(card, backend)
        self.identity = ModelIdentity(card.name, card.version, card.sha256)
        self.caveat: str | None = None
        self.kernel: Kernel = NO_KERNEL
        self.quiet = False
        self.on_stage: Callable[[str], object] = lambda _: None
        self._limits = limits or DecodeLimits()
        self._taxonomies = card.taxonomies

    @classmethod
    def load(
        cls, location: ModelLocation, limits: DecodeLimits | None = None, execution: Execution | None = None
    ) -> Pipeline:
        """Read a model, check its files, and verify its golden clips.

        A network in another precision than float32 that cannot be used on this machine is replaced by the one in
        float32, unless the precision was requested; `caveat` states the reason.

        Parameters
        ----------
        location : ModelLocation
        limits : DecodeLimits, optional
        execution : Execution, optional
            Device and number of threads; by default one thread of the CPU.

        Returns
        -------
        Pipeline

        Raises
        ------
        ModelFileNotFound, ModelRefused
        """
        execution = execution or Execution()
        location = location.preferring("float32") if device_for(execution.device) == "cuda" else location
        card, model = read_model(location)
        card.require_known_labels()
        try:
            pipeline = cls(card, open_backend(model, card, execution), limits)
            pipeline.verify()
        except (ModelRefused, DependencyUnavailable) as error:
            if location.precision is not None or card.precision == "float32":
                raise
            pipeline = cls.load(replace(location, precision="float32"), limits, execution)
            pipeline.caveat = f"the network in {card.precision} cannot be used on this machine, float32 runs: {error}"
        return pipeline

    @property
    def backend(self) -> str:
        """Name of the backend, with the precision unless that is float32."""
        return self.network.backend.name + ("" if self.card.precision == "float32" else f"-{self.card.precision}")

    def verify(self) -> str:
        """`LoadedNetwork.verify`: run the golden clips."""
        return self.network.verify()

    def canary(self) -> bytes:
        """`LoadedNetwork.canary`: run the canary clips."""
        return self.network.canary()

    def classify(
        self,
        source: bytes | os.PathLike[str],
        plan: WindowPlan | None = None,
        *,
        spectrogram: bool = False,
        explain: ExplainPlan | None = None,
        embedding: bool = False,
    ) -> TrackResult:
        """Classify one recording.

        Parameters
        ----------
        source : bytes or path
            An encoded recording.
        plan : WindowPlan, optional
            Which part to analyse; the whole recording by default.
        spectrogram : bool
            Whether the result includes an image of the CQT.
        explain : ExplainPlan, optional
            Which windows to explain; none by default.
        embedding : bool
            Whether the result includes the acoustic identity (`ccmusic.inference.acoustic_identity`).

        Returns
        -------
        TrackResult

        Raises
        ------
        AudioError
            The recording cannot be used.
        InvalidParameter
            The window, taxonomy, level or genre to explain does not exist, or the model cannot be explained.
        NonFiniteOutput
            The network returned NaN or infinity.
        """
        plan = plan or WindowPlan()
        if explain is not None:
            explained = chosen_taxonomy(explain.taxonomy, self._taxonomies)
            require_explainable(explain, self.card, explained)
        timer = StageTimer(self.on_stage)

        timer.begin("decode")
        recording = decode(source, self._limits, first_seconds=plan.first_seconds, kernel=self.kernel, quiet=self.quiet)
        del source  # 100 MB, unless the caller keeps it
        timer.seconds["decode"] = recording.decode_seconds
        timer.seconds["resample"] = recording.resample_seconds
        waveform, duration_seconds = recording.waveform, recording.duration_seconds

        front_end = self.network.front_end
        with timer("features"):
            spectrogram_db = front_end.spectrogram_db(waveform)
            n_frames = spectrogram_db.shape[1]
            parts = music_parts(spectrogram_db, waveform, front_end.min_frames)
            places, weights = place_windows(
                parts,
                lambda length, count: front_end.places(length, duration_seconds * (length / n_frames), count),
                plan.count,
            )
            music_db = _joined(spectrogram_db, parts)
            # Only for the CQT: limits and training profiles of other spectrograms are not known.
            is_cqt = self.card.features.kind == "cqt_db"
            bandwidth = bandwidth_hz(music_db) if is_cqt else None
            non_music = detect_non_music(music_db, self.card.odd or NonMusicLimits()) if is_cqt else None
        windows_db = [spectrogram_db[:, start:end] for start, end in places]
        bounds = [_bounds_seconds(place, duration_seconds) for place in places]

        logits, *logits_of_heads = self.network.logits(windows_db, timer)

        music_seconds = duration_seconds * (music_db.shape[1] / n_frames)
        seconds = analysed_seconds(music_seconds, len(places), self.card)
        windows = window_probabilities(logits, seconds, self.card)
        taxonomy, *taxonomies_of_heads = self._taxonomies
        probabilities = track_probabilities(windows, taxonomy, weights)

        top = float(probabilities[taxonomy.level()].max())
        raised = flags(
            waveform,
            music_seconds,
            recording.truncated,
            top,
            self.card,
            non_music,
            channels_cancel=recording.channels_cancel,
        )
        non_music = "silence" if "silence" in raised else non_music
        heads = tuple(
            _head_result(head, names, window_probabilities(output, seconds, head), weights, raised, non_music)
            for head, names, output in zip(self.card.heads, taxonomies_of_heads, logits_of_heads, strict=True)
        )
        explanations: tuple[Explanation, ...] = ()
        if explain is not None:
            place = self._taxonomies.index(explained)
            of = heads[place - 1] if place else HeadResult(taxonomy, probabilities, windows, raised)
            output: Card | Head = self.card.heads[place - 1] if place else self.card
            explanations = explain_windows(
                explain,
                windows_db,
                bounds,
                of.taxonomy,
                of.probabilities,
                of.windows,
                BLOCKS if self.card.drawing is None else DRAWN_BLOCKS,
                lambda copies: window_probabilities(self.network.logits(copies, timer)[place], seconds, output),
            )
        image = identity = None
        if spectrogram or embedding:  # both are of the CQT, whatever the network's input is
            cqt_db = spectrogram_db if is_cqt else cqt.cqt_db(waveform)
            image = display_image(cqt_db) if spectrogram else None
            identity = acoustic_embedding(cqt_db) if embedding and non_music is None else None
        return TrackResult(
            model=self.identity,
            duration_seconds=duration_seconds,
            probabilities=probabilities,
            windows=tuple(Window(*between, row) for between, row in zip(bounds, windows, strict=True)),
            flags=raised,
            timings=timer.seconds,
            spectrogram_db=image,
            taxonomy=taxonomy,
            sure_level=sure_level(probabilities, non_music, self.card),
            heads=heads,
            level_dbfs=level_dbfs(*(waveform[start * HOP_LENGTH : end * HOP_LENGTH] for start, end in parts)),
            bandwidth_hz=bandwidth,
            odd=non_music,
            explanations=explanations,
            embedding=identity,
        )


def _joined(spectrogram_db: np.ndarray, parts: list[Part]) -> np.ndarray:
    """The parts one after the other; a view if there is only one."""
    cuts = [spectrogram_db[:, start:end] for start, end in parts]
    return cuts[0] if len(cuts) == 1 else np.concatenate(cuts, axis=1)


def _bounds_seconds(place: tuple[int, int], duration_seconds: float) -> tuple[float, float]:
    start, end = (frame / cqt.FRAMES_PER_SECOND for frame in place)
    return min(start, duration_seconds), min(end, duration_seconds)


def _head_result(
    head: Head,
    taxonomy: Taxonomy,
    windows: np.ndarray,
    weights: np.ndarray,
    raised: tuple[str, ...],
    non_music: str | None,
) -> HeadResult:
    probabilities = track_probabilities(windows, taxonomy, weights)
    top = float(probabilities[taxonomy.level()].max())
    return HeadResult(taxonomy, probabilities, windows, flags_of_head(raised, top, head, non_music))
