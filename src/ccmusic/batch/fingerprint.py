"""What the answers of a run depend on. With another fingerprint, earlier answers are stale."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ccmusic.inference.pipeline import Pipeline
from ccmusic.settings import Settings
from ccmusic.version import __version__


def fingerprint_of(pipeline: Pipeline, settings: Settings, windows: str, taxonomy: str, level: int) -> dict[str, Any]:
    """The fingerprint of a run, ready for `json.dumps`.

    Parameters
    ----------
    pipeline : Pipeline
        As it answers: with the precision that runs.
    settings : Settings
    windows, taxonomy, level
        What is requested of each recording.
    """
    model = pipeline.identity
    return {
        "package": __version__,
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256},
        "card": dict(pipeline.card.answer_hashes()),
        "backend": pipeline.backend,
        "taxonomy": taxonomy,
        "level": level,
        "windows": windows,
        "max_windows": settings.max_windows,
        "limits": asdict(settings.local_limits),
    }
