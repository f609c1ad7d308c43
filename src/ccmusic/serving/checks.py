"""The checks of this service. Their order is the order in which ``/health`` names causes.

Each check is a function of records that were read before: it needs no process, no lock and no clock. Only the checks of
files read more; they run on threads of their own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from ccmusic.health import Check, DiskSpace, Observation, Probe, disk_check, failed, file_check, passed, warned
from ccmusic.health.clock import CLOCK
from ccmusic.health.system import (
    dependency_check,
    descriptor_check,
    gpu_memory_check,
    memory_check,
)
from ccmusic.monitoring.drift_watch import DriftOf, DriftState
from ccmusic.monitoring.page_state import PageState
from ccmusic.process.log_output import DROPPED, DroppedLines
from ccmusic.serving.model_checks import (
    ModelHash,
    missing_file,
    model_check,
    model_choice_check,
    one_model_check,
    repository_check,
)
from ccmusic.serving.worker_checks import (
    crash_loop_check,
    helpers_check,
    queue_check,
    self_test_check,
    speed_check,
    supervisor_check,
    workers_check,
)
from ccmusic.settings import Settings
from ccmusic.workers.supervisor_state import SupervisorState

LIBRARIES = ("onnxruntime", "soundfile", "soxr", "numpy")
"""Libraries that the pipeline needs and that may be damaged on disk. PyAV too, if it is there at the start."""
ERROR_SECONDS = 10.0
MIN_ANSWERS = 5
"""With fewer answers, the share of errors is not judged."""


@dataclass(frozen=True, slots=True)
class RecentAnswers:
    """The answers of the last `ERROR_SECONDS`.

    Attributes
    ----------
    count : int
    internal_errors : int
        How many of them were internal errors.
    """

    count: int = 0
    internal_errors: int = 0

    @property
    def error_share(self) -> float:
        """Share of internal errors; 0 if there are no answers."""
        return self.internal_errors / self.count if self.count else 0.0


class Outcomes:
    """Counts the last answers and their internal errors. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: deque[tuple[float, bool]] = deque(maxlen=10_000)

    def note(self, *, failed_inside: bool) -> None:
        """Count one answer."""
        with self._lock:
            self._last.append((CLOCK.now(), failed_inside))

    def read(self) -> RecentAnswers:
        """The present counts."""
        horizon = CLOCK.now() - ERROR_SECONDS
        with self._lock:
            while self._last and self._last[0][0] < horizon:
                self._last.popleft()
            return RecentAnswers(len(self._last), sum(inside for _, inside in self._last))


def service_checks(
    settings: Settings,
    sampled: Callable[[], SupervisorState],
    current: Callable[[], SupervisorState],
    answers: Callable[[], RecentAnswers],
    drift: Callable[[], DriftState],
    disk: DiskSpace,
    page: Callable[[], PageState] = PageState,
) -> list[Check]:
    """All checks of the service but that of the HTTP event loop, which the service adds.

    Parameters
    ----------
    settings : Settings
    sampled : callable
        Returns the supervisor's state of the present sampling: the same record for each check.
    current : callable
        Reads the supervisor's state, for the checks on threads of their own.
    answers, drift : callable
        Read the last answers and the drift.
    disk : DiskSpace
        The directory of temporary files.
    page : callable
        Reads what the page has reported.
    """
    serving: frozenset[Probe] = frozenset({"health", "readyz"})
    starting: frozenset[Probe] = frozenset({"health", "startupz", "readyz"})
    living: frozenset[Probe] = frozenset({"health", "livez"})
    errors_affect: frozenset[Probe] = frozenset({"health"}) if settings.last_replica else serving
    model_hash = ModelHash(settings.model_hash_seconds)
    checks = [
        file_check("model_file", lambda: missing_file(current())),
        dependency_check(LIBRARIES if find_spec("av") is None else (*LIBRARIES, "av")),
        Check("model", lambda: model_check(sampled()), starting),
        Check("model_hash", lambda: model_hash(current()), period_seconds=1.0, stuck_seconds=30.0),
        Check("one_model", lambda: one_model_check(sampled())),
        Check("model_choice", lambda: model_choice_check(sampled())),
        Check("supervisor", lambda: supervisor_check(sampled()), living, "age", component_type="system"),
        Check("helpers", lambda: helpers_check(sampled()), living),
        Check("workers", lambda: workers_check(sampled(), settings), serving, "ready"),
        Check("crash_loop", lambda: crash_loop_check(sampled()), serving, "restarts"),
        Check("queue", lambda: queue_check(sampled(), settings), serving, "age"),
        Check("self_test", lambda: self_test_check(sampled(), settings), serving, "age"),
        Check("speed", lambda: speed_check(sampled()), measurement="slowdown"),
        Check("errors", lambda: errors_check(answers(), settings), errors_affect, "share"),
        memory_check(),
        descriptor_check(),
        disk_check(disk.directory),
        disk.check(),
        Check("log", lambda: log_check(DROPPED), measurement="lost"),
        Check("drift", lambda: drift_check(drift()), measurement="statistic"),
    ]
    if (repository := settings.model_repository) is not None:
        checks.append(Check("model_repository", lambda: repository_check(repository), period_seconds=5.0))
    if settings.page:
        checks.append(Check("page", lambda: page_check(page(), settings)))
    gpu = gpu_memory_check()
    return checks if gpu is None else [*checks, gpu]


def errors_check(answers: RecentAnswers, settings: Settings) -> Observation:
    """Fails when too many of the last answers were internal errors."""
    share = answers.error_share
    if answers.count >= MIN_ANSWERS and share > settings.max_error_share:
        return failed(
            f"{share:.0%} of the last {answers.count} answers were internal errors",
            round(share, 3),
            code="internal_errors",
        )
    return passed(round(share, 3))


def log_check(dropped: DroppedLines) -> Observation:
    """Warns when lines of the log were lost. It never fails: recordings do not wait for the log."""
    if not dropped.recently:
        return passed(dropped.total)
    cause = f"{dropped.total} lines of the log were lost: the program that reads it takes none, or its disk is full"
    return warned(cause, dropped.total, code="log_lost")


def page_check(state: PageState, settings: Settings) -> Observation:
    """Fails while the page does not work. The API works without it, so only ``/health`` is affected.

    If Gradio is not installed, it fails only if someone has set `Settings.page` to true. By default the page is served
    where Gradio is installed, and an API without it is a choice, so that is a warning.
    """
    if state.status == "failed" or (state.status == "absent" and settings.page_is_required):
        return failed(state.cause, state.status, code=state.code)
    if state.status == "absent":
        return warned(state.cause, state.status, code=state.code)
    return passed(state.status)


def drift_check(state: DriftState) -> Observation:
    """Warns of drift. It never fails: the answers for such recordings are as right as they always were."""
    if not state.kinds:
        return passed()
    statistic = max(kind.statistic for kind in state.kinds)
    if not state.drifted:
        return passed(statistic)
    return warned("; ".join(map(_drift_text, state.drifted)), statistic, code="drift")


def _drift_text(of: DriftOf) -> str:
    over = f"over the last {of.recordings} recordings"
    if of.group is not None:
        return f"mix: {of.group.label_en} has {of.mean:.1%} {over}, {of.expected:.1%} are expected"
    unit, digits = {"confidence": ("", 2), "level": (" dBFS", 1), "bandwidth": (" Hz", 0)}[of.kind]
    means = f"{of.mean:.{digits}f}{unit} on average {over}, {of.expected:.{digits}f}{unit} expected"
    how = {"more": "higher", "less": "lower", "wider": "more spread", "narrower": "less spread"}[of.change]
    return f"{of.kind}: {how} than expected ({means})"
