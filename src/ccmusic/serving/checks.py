"""The checks of this service. Their order is the order in which ``/health`` names causes.

Each check is a function of records that were read before: it needs no process, no lock and no clock. Only the checks of
files read more; they run on threads of their own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ccmusic.errors import ModelError
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
from ccmusic.settings import Settings
from ccmusic.workers.model_files import ModelFiles
from ccmusic.workers.records import load_error_code
from ccmusic.workers.supervisor_state import SupervisorState

LIBRARIES = ("onnxruntime", "av", "soundfile", "soxr", "numpy")
"""Libraries that the pipeline needs and that may be damaged on disk."""
LOOP_SECONDS = 3.0
"""Largest age of the supervisor's last turn; it turns ten times a second."""
NO_PROCESS_SECONDS = 10.0
"""When no process can be started for this time and no worker is ready, a restart of the service is the only help."""
CRASH_LOOP_RESTARTS = 3
CRASH_LOOP_SECONDS = 60.0
CRASH_LOOP_CLIENTS = 3
"""If recordings of so many clients end workers and none is answered, the recordings are not the cause."""
REPLACED_SECONDS = 10.0
"""In this time, a worker that was lost to a recording must be ready again."""
PLANNED = ("memory_growth",)
"""Restart reasons that are not crashes."""
SLOW_IN_A_ROW = 2
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
        file_check("model_file", lambda: _missing_file(current())),
        dependency_check(LIBRARIES),
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


def _missing_file(state: SupervisorState) -> Path | str | None:
    return None if state.location is None else state.location.missing()


def model_check(state: SupervisorState) -> Observation:
    """Fails while no worker has verified a model, and when no worker can load it."""
    match state.model_status:
        case "ready":
            return passed()
        case "loading":
            code = "loading" if state.preparing is None else "preparing"
            return failed("still loading", state.preparing, code=code, message="Model is still loading...")
    error, code = state.load_error, load_error_code(state.load_failure)
    reason = "Health check failed" if code == "dependency_missing" else "Model loading failed"
    return failed(f"{error}", code=code, message=f"{reason}: {error}")


def one_model_check(state: SupervisorState) -> Observation:
    """Fails while a worker is not replaced because its successor would answer with another model than the others."""
    refused = [worker for worker in state.workers if worker.error_code == "model_replaced"]
    if not refused:
        return passed()
    return failed(f"worker {refused[0].index}: {refused[0].error}", len(refused), code="model_replaced")


def model_choice_check(state: SupervisorState) -> Observation:
    """Warns when something else is served than the configuration asks for."""
    return passed() if state.caveat is None else warned(state.caveat, code="other_model")


class ModelHash:
    """Compares the model's files with the model in use: the card always, the network when it has changed on disk, and
    periodically. Fails if a new worker would not load the model in use.

    Parameters
    ----------
    period_seconds : float
        Longest time between two hashes of the network.
    """

    def __init__(self, period_seconds: float) -> None:
        self._files = ModelFiles(period_seconds)

    def __call__(self, state: SupervisorState) -> Observation:
        """Check the file of the model in use."""
        location, served = state.location, state.served
        if served is None or location is None or location.directory is None or location.missing() is not None:
            return passed()  # there is no model yet, or the check of the model file reports it
        try:
            difference = self._files.difference(location, served)
        except (OSError, ModelError) as error:
            return failed(f"the model on disk cannot be read: {error}", code="file_unreadable")
        if difference is not None:
            return failed(difference, code="file_changed")
        return passed(served.identity.sha256[:12])


def supervisor_check(state: SupervisorState) -> Observation:
    """Fails when the supervisor's loop is stuck."""
    age = state.loop_age_seconds
    if age > LOOP_SECONDS:
        return failed(f"the supervisor's loop has not turned for {age:.0f} seconds", round(age, 3), "s", code="blocked")
    return passed(round(age, 3), "s")


def helpers_check(state: SupervisorState) -> Observation:
    """Checks what starts and replaces the workers.

    It warns while a lost fork server is being replaced, and while no process can be started. It fails when nothing
    here can bring the workers back: a thread is stuck, or no process has started for a while and no worker is ready.
    """
    if state.stuck:
        return failed("; ".join(state.stuck), code="stuck_thread")
    server = state.fork_server
    if server.turn_age_seconds > LOOP_SECONDS:
        cause = f"the thread that watches the {server.name} has not turned for {server.turn_age_seconds:.0f} seconds"
        return failed(cause, code="stuck_thread")
    if server.cause is None:
        return passed()
    if server.replacing:
        return warned(f"{server.cause}; another one is starting", code="helper_lost")
    cause = f"{server.cause}; tried again every few seconds for {server.seconds:.0f} seconds"
    beyond_help = state.n_ready == 0 and server.seconds > NO_PROCESS_SECONDS
    return (failed if beyond_help else warned)(cause, code="no_process")


def workers_check(state: SupervisorState, settings: Settings) -> Observation:
    """Warns when some workers are not ready; fails when none is."""
    n_ready = state.n_ready
    if n_ready == settings.workers:
        return passed(n_ready)
    last = state.restarts[-1] if state.restarts else None
    why = "" if last is None else f"; worker {last.worker}: {last.reason}: {last.cause}"
    if (error := state.load_error) is not None:
        why += f"; last try: {error}"
    is_coming = any(worker.state == "starting" for worker in state.workers) and not state.stuck
    if n_ready == 0 and is_coming and _lost_to_recordings(state):
        return warned(f"all were lost to recordings and are being replaced{why}", 0, code="recordings_end_workers")
    if n_ready == 0:
        doing = "they are being replaced" if is_coming else "none can be started now"
        return failed(f"none is running with a verified model; {doing}{why}", 0, code="none_ready")
    return warned(f"{n_ready} of {settings.workers} are running{why}", n_ready, code="some_not_ready")


def _lost_to_recordings(state: SupervisorState) -> bool:
    """Whether each worker starts again because a recording ended it a moment ago: the next ones are soon answered."""
    last = {restart.worker: restart for restart in state.restarts}
    return bool(state.workers) and all(
        worker.state == "starting"
        and (restart := last.get(worker.index)) is not None
        and restart.job is not None
        and restart.at > state.read_at - REPLACED_SECONDS
        for worker in state.workers
    )


def crash_loop_check(state: SupervisorState) -> Observation:
    """Warns when workers were replaced several times within a minute; fails if none is ready then.

    Restarts that recordings have caused are no crash loop, however many, and only warn. But if those of several
    clients end workers and no recording at all is answered, then the recordings are not the cause.
    """
    horizon = state.read_at - CRASH_LOOP_SECONDS
    recent = [restart for restart in state.restarts if restart.at > horizon and restart.reason not in PLANNED]
    if len(recent) < CRASH_LOOP_RESTARTS:
        return passed(len(recent))
    by_recordings = [restart for restart in recent if restart.job is not None]
    clients = {restart.client for restart in by_recordings}
    nothing_answered = state.answered_at < min((restart.at for restart in by_recordings), default=state.read_at)
    if len(clients) >= CRASH_LOOP_CLIENTS and nothing_answered:
        by_recordings = []
    if len(recent) - len(by_recordings) < CRASH_LOOP_RESTARTS:
        if len(by_recordings) < CRASH_LOOP_RESTARTS:
            return passed(len(recent))
        cause = (
            f"{len(by_recordings)} workers within {CRASH_LOOP_SECONDS:.0f} seconds were lost to recordings of "
            f"{len(clients)} client{'s' * (len(clients) > 1)}; the last: {by_recordings[-1].cause}"
        )
        return warned(cause, len(recent), code="recordings_end_workers")
    cause = f"{len(recent)} restarts within {CRASH_LOOP_SECONDS:.0f} seconds; the last: {recent[-1].cause}"
    return (warned if state.n_ready else failed)(cause, len(recent), code="crash_loop")


def queue_check(state: SupervisorState, settings: Settings) -> Observation:
    """Fails when a recording waits longer than allowed."""
    age = round(state.queue.oldest_wait_seconds, 3)
    if state.queue_overdue:
        return failed(
            f"recordings have waited longer than {settings.max_wait_seconds:g} seconds", age, "s", code="queue_too_old"
        )
    return passed(age, "s")


def self_test_check(state: SupervisorState, settings: Settings) -> Observation:
    """Warns when the last self-test failed or is late; fails when it is very late."""
    test = state.self_test
    if test is None:
        return passed()
    period, age = settings.self_test_seconds, test.idle_age_seconds
    if age > 2 * period:
        late = f"the last self-test was {age:.0f} seconds ago; one is due every {period:g} seconds"
        return (failed if age > 3 * period else warned)(late, age, "s", code="stale")
    if not test.passed:
        return warned(
            "the last self-test had a wrong answer; its worker is being replaced", age, "s", code="wrong_answer"
        )
    return passed(round(age, 3), "s")


def speed_check(state: SupervisorState) -> Observation:
    """Warns when the last self-tests took much longer than the fastest one."""
    test = state.self_test
    if test is None:
        return passed()
    slowdown = round(test.seconds / max(test.best_seconds, 1e-6), 2)
    if test.slow >= SLOW_IN_A_ROW:
        return warned(f"the self-test takes {slowdown:g} times as long as the fastest one", slowdown, code="slow")
    return passed(slowdown)


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


def repository_check(directory: Path) -> Observation:
    """Warns while the directory of other models is missing. The model in use is not affected."""
    if directory.is_dir():
        return passed()
    return warned(
        f"no such directory: {directory} (CCMUSIC_MODEL_REPOSITORY); no other model can be loaded",
        code="directory_missing",
    )


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
