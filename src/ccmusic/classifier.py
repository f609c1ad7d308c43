"""Open the configured model, and the public `Classifier`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ccmusic.audio.windows import parse_windows
from ccmusic.checkpoints.prepare import Options, prepare
from ccmusic.genres import Taxonomy
from ccmusic.inference.backend import Execution
from ccmusic.inference.occlusion import ExplainPlan
from ccmusic.inference.pipeline import Pipeline
from ccmusic.inference.result import ModelIdentity, TrackResult
from ccmusic.models.store import ModelLocation, locate
from ccmusic.settings import Settings, asked_precision, read_settings

OnText = Callable[[str], object]
"""Is called with a sentence for people."""


def _ignore(_: str) -> None:
    """The caller does not want to know."""


class Classifier:
    """A model that is loaded once and names the genres of recordings.

    The embedded model needs no network and no files of yours. The model answers its golden clips when it is loaded; a
    model that answers them wrongly raises an error. Limits, cache and hub are settings (``CCMUSIC_*`` variables).

    Parameters
    ----------
    model : str or path
        ``embedded``; a model directory; a checkpoint such as ``./vgg19_bn_cqt/save.pt``; or one on a hub, such as
        ``ccmusic-database/music_genre``. A checkpoint is imported into the cache first, which takes minutes.
    device : {"auto", "cpu", "cuda"}, optional
        Where the network runs; the setting by default.
    precision : {"auto", "float32", "bfloat16", "int8"}, optional
        What the network computes in; the setting by default.
    threads : int, optional
        Threads of the network; the setting ``threads_per_worker`` by default. The answers do not depend on it.
    on_caveat : callable, optional
        Is called with a sentence if another model or precision than the requested one is used.

    Attributes
    ----------
    model : ModelIdentity
        Name, version and SHA-256 of the network.
    taxonomies : tuple of Taxonomy
        What the model can name; the first is the default.

    Raises
    ------
    InvalidSettings
    ModelError
        There is no such model, or it cannot be used.

    Examples
    --------
    >>> from ccmusic import Classifier
    >>> classifier = Classifier()
    >>> result = classifier.classify("examples/pachelbel_canon.ogg")
    >>> result.as_json(top_k=1)["predictions"][0]["genre"]
    'Symphony'
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "embedded",
        *,
        device: Literal["auto", "cpu", "cuda"] | None = None,
        precision: Literal["auto", "float32", "bfloat16", "int8"] | None = None,
        threads: int | None = None,
        on_caveat: OnText = _ignore,
    ) -> None:
        settings = read_settings(model=os.fspath(model), device=device, precision=precision, threads_per_worker=threads)
        self._max_windows = settings.max_windows
        self._pipeline = open_pipeline(settings, on_caveat=on_caveat)
        self._lock = threading.Lock()
        self.model: ModelIdentity = self._pipeline.identity
        self.taxonomies: tuple[Taxonomy, ...] = self._pipeline.card.taxonomies

    def classify(
        self,
        recording: str | os.PathLike[str] | bytes,
        *,
        windows: str | int = "whole",
        explain: bool = False,
        taxonomy: str | None = None,
    ) -> TrackResult:
        """Name the genre of one recording.

        Several threads may call this; they take turns.

        Parameters
        ----------
        recording : str, path or bytes
            The path of a recording, or its bytes: WAV, FLAC, OGG, Opus, MP3, AIFF, M4A or WebM.
        windows : str or int
            What is analysed: ``"whole"``; ``"first30"``, the first 30 seconds; or a number of windows that are spread
            evenly over the recording.
        explain : bool
            Whether to measure which part of the clearest window supports its genre, which costs seconds. See
            `TrackResult.explanations`.
        taxonomy : str, optional
            Of the explained genre; the model's first by default. The result has the answers in all taxonomies.

        Returns
        -------
        TrackResult

        Raises
        ------
        AudioError
            The recording cannot be used.
        InvalidParameter
            There is no such file, or `windows` or `taxonomy` is not allowed, or this model cannot be explained.
        """
        plan = parse_windows(str(windows), self._max_windows)
        source = Path(recording) if isinstance(recording, str) else recording
        with self._lock:
            return self._pipeline.classify(source, plan, explain=ExplainPlan(taxonomy=taxonomy) if explain else None)


def open_pipeline(
    settings: Settings,
    location: ModelLocation | None = None,
    *,
    threads: int | None = None,
    on_stage: OnText = _ignore,
    on_caveat: OnText = _ignore,
    progress: bool = False,
) -> Pipeline:
    """Load the configured model and check that it answers its golden clips.

    Parameters
    ----------
    settings : Settings
    location : ModelLocation, optional
        What `prepare_model` returned; it is called first by default.
    threads : int, optional
        Threads of the network; the setting ``threads_per_worker`` by default.
    on_stage, on_caveat, progress
        As for `prepare_model`.

    Raises
    ------
    ModelError
    """
    if location is None:
        location = prepare_model(settings, on_stage=on_stage, on_caveat=on_caveat, progress=progress)
    execution = Execution(settings.threads_per_worker if threads is None else threads, settings.device)
    pipeline = Pipeline.load(location, settings.local_limits, execution)
    if pipeline.caveat is not None:
        on_caveat(pipeline.caveat)
    return pipeline


def prepare_model(
    settings: Settings, *, on_stage: OnText = _ignore, on_caveat: OnText = _ignore, progress: bool = False
) -> ModelLocation:
    """Return the directory of the configured model. A checkpoint is fetched and imported first.

    Parameters
    ----------
    settings : Settings
    on_stage : callable
        Is called with the name of each stage of an import as it begins.
    on_caveat : callable
        Is called with a sentence if another model than the configured one is used.
    progress : bool
        Whether to show a progress bar on a terminal while files are fetched.

    Raises
    ------
    ModelError
    """
    location = locate(settings.model, asked_precision(settings))
    if location.directory is None:
        location, caveat = prepare(location, import_options(settings, progress=progress), on_stage)
        if caveat is not None:
            on_caveat(caveat)
    return location


def import_options(settings: Settings, *, progress: bool = False) -> Options:
    """Return how checkpoints are fetched and imported under these settings."""
    return Options(
        model_cache=settings.model_cache.expanduser().absolute(),
        import_audio=settings.import_audio,
        hub_endpoint=settings.hub_endpoint,
        hub_token_to_mirror=settings.hub_token_to_mirror,
        hub_offline=settings.hub_offline,
        threads=settings.threads_per_worker,
        progress=progress,
    )
