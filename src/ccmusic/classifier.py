"""From a configuration to a pipeline that is loaded and proved."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ccmusic.checkpoints.prepare import Options, prepare
from ccmusic.inference.backend import Execution
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.store import ModelLocation, locate
from ccmusic.settings import Settings, asked_precision


def open_pipeline(settings: Settings, *, threads: int | None = None, quiet: bool = False) -> Pipeline:
    """Load the model of this configuration, fetched and imported first if it must be, and prove it.

    Parameters
    ----------
    settings : Settings
    threads : int, optional
        Threads within one operator of the network; `Settings.threads_per_worker` by default.
    quiet : bool
        Whether stages and progress of an import are left unsaid.

    Raises
    ------
    ModelError
    """
    execution = Execution(settings.threads_per_worker if threads is None else threads, settings.device)
    return Pipeline.load(prepared(settings, quiet=quiet), settings.decode_limits, execution)


def preparing_options(settings: Settings, *, progress: bool = False) -> Options:
    """How this configuration wants checkpoints to be fetched and imported."""
    return Options(
        model_cache=settings.model_cache.expanduser().absolute(),
        import_audio=settings.import_audio,
        hub_endpoint=settings.hub_endpoint,
        hub_token_to_mirror=settings.hub_token_to_mirror,
        hub_offline=settings.hub_offline,
        threads=settings.threads_per_worker,
        progress=progress,
    )


def prepared(settings: Settings, *, quiet: bool = False) -> ModelLocation:
    """Where the model of this configuration lies, fetched and imported first if it must be; a caveat is told."""
    location = locate(settings.model, asked_precision(settings))
    if location.directory is None:
        location, caveat = prepare(
            location, preparing_options(settings, progress=not quiet), stage_printer(quiet=quiet)
        )
        if caveat is not None:
            print(f"ccmusic: {caveat}", file=sys.stderr)
    return location


def stage_printer(*, quiet: bool) -> Callable[[str], object]:
    """Print each stage of an import to stderr, or nothing."""
    return (lambda _: None) if quiet else lambda stage: print(f"... {stage}", file=sys.stderr, flush=True)
