"""One snapshot of a service's state, sampled by its own thread; a probe only reads it.

The texts are fixed, because probes and alerts of others may match on them.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ccmusic.health.check import PROBES, Check, Observation, Probe, own_result
from ccmusic.health.clock import CLOCK
from ccmusic.health.loader import Loader
from ccmusic.health.snapshot import HealthSnapshot, with_failure
from ccmusic.health.stacks import stack_of
from ccmusic.health.waits import OWN_WAITS
from ccmusic.health.watch import PeriodicWatch, Watch

__all__ = ["PERIOD_SECONDS", "STALE_SECONDS", "Health", "HealthSnapshot"]

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 0.5
STALE_SECONDS = 5.0
"""A snapshot older than this fails: the sampling itself has stopped."""
BURST_SECONDS = 0.01
"""Pause after a sampling, which limits it to 100 a second however many events request one."""
JOIN_SECONDS = 2.0

DRAINING = "no new work is taken; what was accepted is being finished"

T = TypeVar("T")
Observe = Callable[[], Observation | None]


class Health:
    """Samples checks into a snapshot.

    Parameters
    ----------
    service, version : str
        Shown by ``/health``.
    period_seconds : float
        Between two samplings if no event requests one.
    started_at : float, optional
        Start of the service on the monotonic clock; now by default.
    model_status : callable, optional
        Returns ``loading``, ``ready`` or ``error``; by default the state of the loaders.
    details : callable, optional
        Returns further fields of ``/health``, ready for JSON.
    """

    def __init__(
        self,
        service: str,
        version: str,
        *,
        period_seconds: float = PERIOD_SECONDS,
        started_at: float | None = None,
        model_status: Callable[[], str] | None = None,
        details: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self._service = service
        self._version = version
        self._period_seconds = period_seconds
        self._started_at = time.monotonic() if started_at is None else started_at  # the system's clock
        self._model_status = model_status or self._status_of_loaders
        self._details: Callable[[], Mapping[str, Any]] = details or dict
        self._lock = threading.Lock()
        self._watches: tuple[Watch, ...] = ()  # replaced, never modified: the sampler reads it without a lock
        self._loaders: tuple[Loader[Any], ...] = ()
        self._started = False
        self._draining = False
        self._sampling_fails = False
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._snapshot: HealthSnapshot | None = None

    def add(self, check: Check) -> None:
        """Add a check. ``/health`` reports the first failing check in the order of addition.

        Raises
        ------
        ValueError
            A check with this name exists.
        """
        with self._lock:
            if any(watch.check.name == check.name for watch in self._watches):
                raise ValueError(f"a check named {check.name!r} exists already")
            watch = Watch(check) if check.period_seconds is None else PeriodicWatch(check, self.wake)
            self._watches = (*self._watches, watch)
            if self._thread is not None:
                watch.start()
        self.wake()

    def check(
        self, name: str, *, affects: Iterable[Probe] = ("health",), **options: Any
    ) -> Callable[[Observe], Observe]:
        """Decorator that adds a function as a check; the options are those of `Check`."""

        def add(observe: Observe) -> Observe:
            self.add(Check(name, observe, frozenset(affects), **options))
            return observe

        return add

    def load(
        self,
        name: str,
        function: Callable[[], T],
        *,
        path: Path | str | None = None,
        retry_seconds: float | None = None,
    ) -> Loader[T]:
        """Load something, such as a model, in the background once the sampling starts.

        Parameters
        ----------
        name : str
            Name of the check that is added.
        function : callable
            Loads and returns it.
        path : Path or str, optional
            A file that must exist; it is checked in every period, also long after the loading.
        retry_seconds : float, optional
            Pause before a failed loading is retried, doubled each time up to 30 s; without it, a failure is final. If
            the file appears or changes meanwhile, the loading is retried within `retry_seconds` of it.
        """
        loader = Loader(name, function, path=path, retry_seconds=retry_seconds, changed=self.wake)
        for check in loader.checks(self._period_seconds):
            self.add(check)
        with self._lock:
            self._loaders = (*self._loaders, loader)
            if self._thread is not None:
                loader.start()
        return loader

    def start(self) -> None:
        """Take a first sample now and continue in the background. Does nothing if it runs already."""
        with self._lock:
            if self._thread is not None:
                return
            self._stopping = threading.Event()
            self._thread = threading.Thread(
                target=self._sample_forever, args=(self._stopping,), name="health-sampler", daemon=True
            )
            for part in self._parts():
                part.start()
            self._take_sample()
            self._thread.start()

    def stop(self) -> None:
        """Stop the sampling."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopping.set()
            for part in self._parts():
                part.stop()
        self.wake()
        if thread is not None:
            thread.join(JOIN_SECONDS)

    def wake(self) -> None:
        """Sample at once because of an event. May be called from any thread and from a signal handler."""
        # A SimpleQueue instead of an Event: a signal handler may interrupt another wake, and would wait forever for the
        # lock of an Event.
        if self._wakes.empty():
            self._wakes.put(None)

    def drain(self) -> None:
        """Fail ``/health`` and ``/readyz`` from now on. May be called from any thread and from a signal handler."""
        self._draining = True
        self.wake()

    def snapshot(self) -> HealthSnapshot:
        """The last sample, with a failure added if it is too old."""
        now = CLOCK.now()  # first: this thread may wait for a processor between the two
        snapshot = self._snapshot
        if snapshot is None:
            empty = self.make_snapshot(service=self._service, version=self._version, model_status="loading")
            return with_failure(empty, "sampling", frozenset(PROBES), "not_started", "not started")
        if self._draining:  # added here instead of at the next sampling, so that it is in effect immediately
            snapshot = with_failure(snapshot, "draining", frozenset({"health", "readyz"}), "draining", DRAINING)
        sampler = self._thread
        age = OWN_WAITS.without(sampler, now - snapshot.sampled_at, STALE_SECONDS)
        if age <= STALE_SECONDS:
            return snapshot
        stack = stack_of(sampler.ident) if sampler else None
        return with_failure(
            replace(snapshot, uptime_seconds=snapshot.uptime_seconds + age),
            "sampling",
            frozenset({"health", "livez", "readyz"}),
            "stale",
            f"no sample for {age:.0f} seconds",
            stack.text if stack else None,
        )

    def make_snapshot(self, **fields: Any) -> HealthSnapshot:
        """Build the snapshot; a subclass may return a larger record."""
        return HealthSnapshot(**fields)

    def _parts(self) -> tuple[Watch | Loader[Any], ...]:
        return (*self._loaders, *self._watches)

    def _status_of_loaders(self) -> str:
        states = {loader.state for loader in self._loaders}
        return "error" if "error" in states else "loading" if "loading" in states else "ready"

    def _sample_forever(self, stopping: threading.Event) -> None:
        while True:
            with suppress(queue.Empty):
                self._wakes.get(timeout=self._period_seconds)
            if stopping.is_set():
                return
            self._take_sample()
            stopping.wait(BURST_SECONDS)

    def _take_sample(self) -> None:
        try:
            self._snapshot = self._sample()
        except Exception:  # the last snapshot stays and becomes stale, which is reported
            if not self._sampling_fails:
                logger.exception("the sampling failed")
            self._sampling_fails = True
        else:
            self._sampling_fails = False

    def begin_sampling(self) -> None:
        """Called at the start of each sampling; a subclass can read here what several checks need."""

    def _sample(self) -> HealthSnapshot:
        OWN_WAITS.note()
        sampled_at = CLOCK.now()  # before the checks: a snapshot is as old as its oldest part
        watches = self._watches
        results = []
        try:
            self.begin_sampling()
        except Exception as error:
            results.append(own_result("state", "fail", error))
        results += [watch.result() for watch in watches]
        if not self._started:
            awaited = any(not watch.observed and "startupz" in watch.check.affects for watch in watches)
            failing = any(result.status == "fail" and "startupz" in result.affects for result in results)
            self._started = not awaited and not failing
        status, details = "error", {}
        try:
            status = self._model_status()
        except Exception as error:
            results.append(own_result("model_status", "fail", error))
        try:
            details = json.loads(json.dumps(dict(self._details()), allow_nan=False))
        except Exception as error:  # the details are optional: without them everything else still holds
            results.append(own_result("details", "warn", error))
        return self.make_snapshot(
            service=self._service,
            version=self._version,
            model_status=status,
            checks=tuple(results),
            started=self._started,
            uptime_seconds=time.monotonic() - self._started_at,  # the system's clock
            details=details,
            sampled_at=sampled_at,
        )
