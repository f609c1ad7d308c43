"""What this service promises, as checks. Their order is that in which ``/health`` names causes."""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path

from ccmusic.errors import DependencyUnavailable, ModelError
from ccmusic.health import Check, DiskSpace, Observation, Probe, disk_check, failed, file_check, passed, warned
from ccmusic.health.system import (
    dependency_check,
    descriptor_check,
    gpu_memory_check,
    memory_check,
)
from ccmusic.models.card import CARD_NAME, read_card
from ccmusic.models.store import file_sha256
from ccmusic.monitoring.drift_watch import DriftOf, DriftWatch
from ccmusic.settings import Settings
from ccmusic.workers.supervisor import Supervisor

LIBRARIES = ("onnxruntime", "av", "soundfile", "soxr", "numpy")
"""What the road needs and may be broken from outside."""
LOOP_SECONDS = 3.0
"""The supervising loop turns ten times a second."""
CRASH_LOOP_RESTARTS = 3
CRASH_LOOP_SECONDS = 60.0
PLANNED = ("memory_growth",)
SLOW_IN_A_ROW = 2
ERROR_SECONDS = 10.0
MIN_ANSWERS = 5
"""Fewer answers than this say nothing about the share of errors."""


class Outcomes:
    """The last answers: how many failed inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: deque[tuple[float, bool]] = deque(maxlen=10_000)

    def note(self, *, failed_inside: bool) -> None:
        """Note one answer."""
        with self._lock:
            self._last.append((time.monotonic(), failed_inside))

    def share(self) -> tuple[int, float]:
        """How many answers there were of late, and the share of them that failed inside."""
        horizon = time.monotonic() - ERROR_SECONDS
        with self._lock:
            while self._last and self._last[0][0] < horizon:
                self._last.popleft()
            n = len(self._last)
            return n, sum(inside for _, inside in self._last) / n if n else 0.0


def service_checks(
    supervisor: Supervisor, outcomes: Outcomes, disk: DiskSpace, drift: DriftWatch, settings: Settings
) -> list[Check]:
    """Every check of the service except that of the HTTP loop, which the application adds.

    Parameters
    ----------
    supervisor : Supervisor
    outcomes : Outcomes
    disk : DiskSpace
        Of the directory of temporary files.
    drift : DriftWatch
    settings : Settings
    """
    serving: frozenset[Probe] = frozenset({"health", "readyz"})
    starting: frozenset[Probe] = frozenset({"health", "startupz", "readyz"})
    living: frozenset[Probe] = frozenset({"health", "livez"})
    alone: frozenset[Probe] = frozenset({"health"})
    checks = [
        file_check("model_file", lambda: supervisor.location.missing()),  # noqa: PLW0108  another after a change of model
        dependency_check(LIBRARIES),
        Check("model", lambda: _model(supervisor), starting),
        Check(
            "model_hash", _ModelHash(supervisor, settings.model_hash_seconds), period_seconds=1.0, stuck_seconds=30.0
        ),
        Check("model_choice", lambda: _model_choice(supervisor)),
        Check("supervisor", lambda: _loop(supervisor), living, "age", component_type="system"),
        Check("workers", lambda: _workers(supervisor, settings), serving, "ready"),
        Check("crash_loop", lambda: _crash_loop(supervisor), serving, "restarts"),
        Check("queue", lambda: _queue(supervisor, settings), serving, "age"),
        Check("self_test", lambda: _self_test(supervisor, settings), serving, "age"),
        Check("speed", lambda: _speed(supervisor), measurement="slowdown"),
        Check(
            "errors",
            lambda: _errors(outcomes, settings),
            alone if settings.last_replica else serving,
            "share",
        ),
        memory_check(),
        descriptor_check(),
        disk_check(disk.directory),
        disk.check(),
        Check("drift", lambda: _drift(drift), measurement="statistic"),
    ]
    gpu = gpu_memory_check()
    return checks if gpu is None else [*checks, gpu]


def _model(supervisor: Supervisor) -> Observation:
    match supervisor.model_status:
        case "ready":
            return passed()
        case "loading":
            return failed("still loading", supervisor.preparing, message="Model is still loading...")
    error = supervisor.load_error
    if isinstance(supervisor.load_failure, DependencyUnavailable):
        return failed(f"{error}", message=f"Health check failed: {error}")
    return failed(f"{error}", message=f"Model loading failed: {error}")


def _model_choice(supervisor: Supervisor) -> Observation:
    caveat = supervisor.caveat
    return passed() if caveat is None else warned(caveat)


class _ModelHash:
    """Hashes the model file again when it has changed on disk, and else each so often.

    Parameters
    ----------
    supervisor : Supervisor
    period_seconds : float
    """

    def __init__(self, supervisor: Supervisor, period_seconds: float) -> None:
        self._supervisor = supervisor
        self._period_seconds = period_seconds
        self._seen: tuple[object, ...] = ()
        self._hashed_at = float("-inf")
        self._last = passed()

    def __call__(self) -> Observation:
        location = self._supervisor.location
        model = self._supervisor.model
        if model is None or location.directory is None or location.missing() is not None:
            return passed()  # not yet, or for the other check to say
        try:
            card = read_card(location.directory / CARD_NAME)
            file = next((network.file for network in card.networks if network.sha256 == model.sha256), card.file)
            path = location.directory / file
            status = path.stat()
            seen = (path, model.sha256, status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen or time.monotonic() - self._hashed_at > self._period_seconds:
                self._last = self._hash(path, model.sha256)
                self._seen, self._hashed_at = seen, time.monotonic()
        except (OSError, ModelError) as error:
            return failed(f"the model on disk cannot be read: {error}")
        return self._last

    @staticmethod
    def _hash(path: Path, promised: str) -> Observation:
        found = file_sha256(path)
        if found == promised:
            return passed(found[:12])
        return failed(
            f"{path.name} on disk has SHA-256 {found[:12]}..., the model in use has {promised[:12]}...; "
            "the next start would not load it",
            found[:12],
        )


def _loop(supervisor: Supervisor) -> Observation:
    age = supervisor.loop_age_seconds
    if age > LOOP_SECONDS:
        return failed(f"the supervising loop has not turned for {age:.0f} seconds", round(age, 3), "s")
    return passed(round(age, 3), "s")


def _workers(supervisor: Supervisor, settings: Settings) -> Observation:
    n_ready = supervisor.n_ready
    if n_ready == settings.workers:
        return passed(n_ready)
    last = supervisor.restarts[-1] if supervisor.restarts else None
    why = "" if last is None else f"; worker {last.worker}: {last.reason}: {last.cause}"
    if n_ready == 0:
        return failed(f"none is running with a verified model; they are being replaced{why}", 0)
    return warned(f"{n_ready} of {settings.workers} are running{why}", n_ready)


def _crash_loop(supervisor: Supervisor) -> Observation:
    horizon = time.monotonic() - CRASH_LOOP_SECONDS
    recent = [restart for restart in supervisor.restarts if restart.at > horizon and restart.reason not in PLANNED]
    if len(recent) < CRASH_LOOP_RESTARTS:
        return passed(len(recent))
    cause = f"{len(recent)} restarts within {CRASH_LOOP_SECONDS:.0f} seconds; the last: {recent[-1].cause}"
    return (warned if supervisor.n_ready else failed)(cause, len(recent))


def _queue(supervisor: Supervisor, settings: Settings) -> Observation:
    age = round(supervisor.queue.oldest_wait_seconds, 3)
    if supervisor.queue_too_old:
        return failed(f"recordings have waited longer than {settings.max_wait_seconds:g} seconds", age, "s")
    return passed(age, "s")


def _self_test(supervisor: Supervisor, settings: Settings) -> Observation:
    test = supervisor.self_test
    if test is None:
        return passed()
    period, age = settings.self_test_seconds, test.idle_age_seconds
    if age > 3 * period:
        return failed(f"the golden clips were last asked {age:.0f} seconds ago, not every {period:g}", age, "s")
    if age > 2 * period:
        return warned(f"the golden clips were last asked {age:.0f} seconds ago, not every {period:g}", age, "s")
    if not test.passed:
        return warned("the last answer to the golden clips was wrong; its worker is being replaced", age, "s")
    return passed(round(age, 3), "s")


def _speed(supervisor: Supervisor) -> Observation:
    test = supervisor.self_test
    if test is None:
        return passed()
    slowdown = round(test.seconds / max(test.best_seconds, 1e-6), 2)
    if test.slow >= SLOW_IN_A_ROW:
        return warned(f"the golden clips take {slowdown:g} times as long as they did at best", slowdown)
    return passed(slowdown)


def _errors(outcomes: Outcomes, settings: Settings) -> Observation:
    n, share = outcomes.share()
    if n >= MIN_ANSWERS and share > settings.max_error_share:
        return failed(f"{share:.0%} of the last {n} answers were internal errors", round(share, 3))
    return passed(round(share, 3))


def _drift(drift: DriftWatch) -> Observation:
    """Never a fail: the answers are as right as they ever were for such recordings."""
    state = drift.state()
    if not state.kinds:
        return passed()
    statistic = max(kind.statistic for kind in state.kinds)
    if not state.drifted:
        return passed(statistic)
    return warned("; ".join(map(_drift_words, state.drifted)), statistic)


def _drift_words(of: DriftOf) -> str:
    over = f"over the last {of.recordings} recordings"
    if of.group is not None:
        return f"mix: {of.group.label_en} has {of.mean:.1%} {over}, {of.expected:.1%} are expected"
    unit, digits = {"confidence": ("", 2), "level": (" dBFS", 1), "bandwidth": (" Hz", 0)}[of.kind]
    means = f"{of.mean:.{digits}f}{unit} on average {over}, {of.expected:.{digits}f}{unit} expected"
    how = {"more": "higher", "less": "lower", "wider": "more spread", "narrower": "less spread"}[of.change]
    return f"{of.kind}: {how} than expected ({means})"
