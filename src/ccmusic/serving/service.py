"""The service behind every face: settings, workers and health, started and stopped together."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path

from ccmusic.audio.windows import parse_windows
from ccmusic.health.state import Health, HealthSnapshot
from ccmusic.inference.result import TrackResult
from ccmusic.models.store import locate
from ccmusic.settings import Settings
from ccmusic.workers.channel import Job
from ccmusic.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)


class Service:
    """What the HTTP routes and the page call.

    Parameters
    ----------
    settings : Settings
    started_at : float, optional
        When the process began, on the monotonic clock; now by default.
    """

    def __init__(self, settings: Settings, started_at: float | None = None) -> None:
        self.settings = settings
        self._location = locate(settings.model)
        self._supervisor = Supervisor(settings)
        self._health = Health(
            self._supervisor, self._location.missing, time.monotonic() if started_at is None else started_at
        )

    def start(self) -> None:
        """Begin loading the model in the background; returns at once."""
        if (missing := self._location.missing()) is not None:
            logger.error(
                "model file not found: %s (absolute: %s; working directory: %s)",
                missing,
                self._location.directory,
                Path.cwd(),
            )
        self._supervisor.start()
        self._health.start()

    def stop(self) -> None:
        """Let running jobs end and stop the workers."""
        self._supervisor.stop()
        self._health.stop()

    def snapshot(self) -> HealthSnapshot:
        """The state of the service, from memory."""
        return self._health.snapshot()

    async def classify(
        self, source: bytes | os.PathLike[str], *, windows: str | int = "whole", spectrogram: bool = False
    ) -> TrackResult:
        """Have one recording classified by a worker, without blocking the event loop.

        Parameters
        ----------
        source : bytes or path
            An encoded recording; a path is one of our own files.
        windows : str or int
            ``whole``, ``first30``, or how many.
        spectrogram : bool
            Whether the answer carries the CQT for a picture.

        Returns
        -------
        TrackResult

        Raises
        ------
        InvalidParameter, AudioError, ModelError, ServiceError
        """
        plan = parse_windows(windows, self.settings.max_windows)
        job = Job(source if isinstance(source, bytes) else Path(source), plan, spectrogram)
        return await asyncio.wrap_future(self._supervisor.submit(job))
