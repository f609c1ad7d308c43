"""The service behind the HTTP API and the page: settings, workers and health, started and stopped together."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ccmusic.audio.windows import parse_windows
from ccmusic.errors import (
    AudioError,
    CcmusicError,
    InferenceTimeout,
    InvalidParameter,
    Overloaded,
    TooManyRequests,
)
from ccmusic.health import DiskSpace, LoopWatch
from ccmusic.health.clock import CLOCK
from ccmusic.inference.occlusion import ExplainPlan
from ccmusic.inference.result import TrackResult
from ccmusic.monitoring.drift_watch import Expected
from ccmusic.monitoring.metrics import Metrics
from ccmusic.monitoring.page_state import PageState
from ccmusic.monitoring.recording_metrics import ABANDONED, CLIENT_LIMIT, RecordingMetrics
from ccmusic.monitoring.service_snapshot import ServiceHealth, ServiceSnapshot
from ccmusic.serving.admission import Admissions
from ccmusic.serving.checks import Outcomes, service_checks
from ccmusic.serving.clients import ApiKeys, Rates
from ccmusic.serving.limits import client_of_request
from ccmusic.serving.received import RecordingDirectory
from ccmusic.settings import Settings
from ccmusic.workers import faults
from ccmusic.workers.channel import Job
from ccmusic.workers.supervisor import Supervisor
from ccmusic.workers.swap import SwapReport

logger = logging.getLogger(__name__)

SHEDDING = ("memory", "descriptors")
"""While one of these checks fails, new recordings are refused: each would make the problem worse."""
SAMPLE_POLL_SECONDS = 0.005
SAMPLE_POLLS = 200
"""After a change of the model, an answer waits so often for the next sample of health, which takes milliseconds."""
DRAIN_TURN_SECONDS = 0.1


class Service:
    """What the HTTP routes and the page call.

    Parameters
    ----------
    settings : Settings
    started_at : float, optional
        When the process started, on the monotonic clock; now by default.
    supervisor : Supervisor, optional
        Another one than `Supervisor(settings)`, for tests.

    Attributes
    ----------
    draining : bool
        Whether the service is shutting down.
    metrics : Metrics
        The metrics of ``/metrics``.
    api_keys : ApiKeys
    admissions : Admissions
        The bytes of request bodies that are held.
    recordings : RecordingDirectory
        The large recordings that are held.
    """

    def __init__(
        self, settings: Settings, started_at: float | None = None, supervisor: Supervisor | None = None
    ) -> None:
        self.settings = settings
        self.draining = False
        self.health = ServiceHealth(started_at)
        self._supervisor = supervisor or Supervisor(settings, self.health.wake)
        self.metrics = Metrics(self.snapshot)
        self._recordings = RecordingMetrics(
            self.metrics.registry, lambda: Expected.of(self.health.state.served), settings.drift_recordings
        )
        self.api_keys = ApiKeys(settings.api_keys_file)
        self._rates = Rates(settings.recordings_per_minute, self.api_keys.rates)
        self._outcomes = Outcomes()
        self._loop_watch = LoopWatch()
        disk = DiskSpace(tempfile.gettempdir())
        self.admissions = Admissions(settings, lambda: None if disk.use is None else disk.use.free_bytes)
        self.recordings = RecordingDirectory()
        drift = self._recordings.drift
        self._page = PageState()
        self.health.watch(
            self._supervisor.state,
            lambda: self._loop_watch.lag_seconds,
            lambda: disk.use,
            drift.state,
            lambda: self._page,
        )
        for check in service_checks(
            settings,
            lambda: self.health.state,
            self._supervisor.state,
            self._outcomes.read,
            drift.state,
            disk,
            lambda: self._page,
        ):
            self.health.add(check)
        self.health.add(self._loop_watch.check(settings.max_loop_lag_seconds))

    def start(self) -> None:
        """Start to load the model in the background; returns at once. Must be called on the HTTP event loop."""
        location = self.health.state.location
        if location is not None and (missing := location.missing()) is not None:
            logger.error(
                "model file not found: %s (absolute: %s; working directory: %s)",
                missing,
                location.checkpoint or location.directory,
                Path.cwd(),
            )
        self.recordings.sweep()
        self._loop_watch.start()
        self._supervisor.start()
        self.health.start()

    def drain(self) -> None:
        """Report that the service is shutting down. New requests are still answered. Safe in a signal handler."""
        self.draining = True
        self.health.drain()

    async def drained(self) -> None:
        """Return when every accepted recording has been answered, or after `Settings.drain_seconds`."""
        try:
            await asyncio.to_thread(self._supervisor.drain, self.settings.drain_seconds)
        except RuntimeError:  # no thread can be started
            for _ in range(int(self.settings.drain_seconds / DRAIN_TURN_SECONDS)):
                if self._supervisor.drain(0.0):
                    return
                await asyncio.sleep(DRAIN_TURN_SECONDS)

    async def stop(self) -> None:
        """Let running jobs end and stop the workers."""
        # health first: workers that end now must not be reported as lost
        for stop in (self.health.stop, self._supervisor.stop):
            try:
                await asyncio.to_thread(stop)
            except RuntimeError:  # at a limit of threads; blocking the loop matters no more
                stop()
        self._loop_watch.stop()
        await asyncio.to_thread(self.recordings.delete)

    def snapshot(self) -> ServiceSnapshot:
        """The state of the service, as of the last sampling."""
        return self.health.snapshot()

    def report_page(self, state: PageState) -> None:
        """Called by the page when its state has changed."""
        self._page = state
        self.health.wake()

    def stack_dump(self, number: int) -> str | None:
        """The text of a stack dump; None if it is not kept."""
        return next((dump.text for dump in self._supervisor.state().stack_dumps if dump.id == number), None)

    async def classify(
        self,
        source: bytes | os.PathLike[str],
        *,
        windows: str | int = "whole",
        spectrogram: bool = False,
        explain: ExplainPlan | None = None,
        client: str | None = None,
    ) -> TrackResult:
        """Classify one recording in a worker, without blocking the event loop.

        Parameters
        ----------
        source : bytes or path
            An encoded recording. A path is a temporary file of the service, never a path from a client.
        windows : str or int
            ``whole``, ``first30``, or a number of windows.
        spectrogram : bool
            Whether the result includes the CQT spectrogram, for a picture.
        explain : ExplainPlan, optional
            Which windows the result explains, at most `Settings.explain_windows`; none by default.
        client : str, optional
            Who sent it; by default the client of the present request.

        Returns
        -------
        TrackResult

        Raises
        ------
        InvalidParameter, AudioError, ModelError, ServiceError
        """
        try:
            who = client_of_request.get() if client is None else client
            result = await self._answer(source, windows, spectrogram, explain, who)
        except asyncio.CancelledError:
            self._recordings.failed(ABANDONED)
            raise
        except TooManyRequests:
            self._recordings.failed(CLIENT_LIMIT)
            raise
        except Exception as error:
            self._recordings.failed(error.slug if isinstance(error, CcmusicError) else "internal")
            raise
        self._recordings.answered(result)
        return result

    async def _answer(
        self,
        source: bytes | os.PathLike[str],
        windows: str | int,
        spectrogram: bool,
        explain: ExplainPlan | None,
        client: str,
    ) -> TrackResult:
        plan = parse_windows(windows, self.settings.max_windows)
        if explain is not None:
            if self.settings.explain_windows == 0:
                raise InvalidParameter("explain", "is turned off here (CCMUSIC_EXPLAIN_WINDOWS)")
            explain = replace(explain, windows=min(explain.windows, self.settings.explain_windows))
        recording = source if isinstance(source, bytes) else Path(source)
        job = Job(recording, plan, spectrogram, explain, client)
        self._shed_load()
        if client:
            self._rates.take(client)
        if self.snapshot().supervisor.n_quarantined:
            await asyncio.to_thread(self._supervisor.refuse_quarantined, job)
        try:
            result = await asyncio.wrap_future(self._supervisor.submit(job))
        except (AudioError, InvalidParameter):
            self._outcomes.note(failed_inside=False)
            raise
        except CcmusicError as error:
            # A recording that takes too long is no failure of the service, unless it was answered before.
            if error.slug == "internal" or (isinstance(error, InferenceTimeout) and not error.by_recording):
                self._outcomes.note(failed_inside=True)
            raise
        self._outcomes.note(failed_inside=False)
        served = self.snapshot().served
        if served is not None and served.identity != result.model:  # the model has just changed
            await self._sampled_again()
        return result

    async def _sampled_again(self) -> None:
        """Wait until health has been sampled again, so that it names the model in use; not for long, if it is stuck."""
        called_at = CLOCK.now()
        self.health.wake()
        for _ in range(SAMPLE_POLLS):
            if self.snapshot().sampled_at > called_at:
                return
            await asyncio.sleep(SAMPLE_POLL_SECONDS)

    def _shed_load(self) -> None:
        for check in self.snapshot().checks:
            if check.status == "fail" and check.name in SHEDDING:
                raise Overloaded(f"{check.name}: {check.cause}", retry_after_seconds=5.0)

    # for admins

    async def load_model(self, name: str) -> SwapReport:
        """`Supervisor.load_model`, without blocking the event loop; ``/health`` names the new model when it returns."""
        report = await asyncio.to_thread(self._supervisor.load_model, name)
        await self._sampled_again()
        return report

    async def inject(self, fault: str, worker: int = 0, size: float | None = None) -> Mapping[str, Any]:
        """Inject one of `ccmusic.workers.faults.FAULTS`."""
        changes = await asyncio.to_thread(self._supervisor.inject, fault, worker, size)
        if fault == "block-loop":
            pause = faults.DEFAULT_SIZE[fault] if size is None else size
            asyncio.get_running_loop().call_later(0.05, threading.Event().wait, pause)  # after this answer is sent
        return {"fault": fault, "worker": worker, "changes": changes}

    def clear_faults(self) -> None:
        """End every fault that is active until cleared."""
        self._supervisor.clear_faults()

    def restart_workers(self) -> None:
        """Replace each worker after its job."""
        self._supervisor.restart_workers()
