"""The checks of the workers, of what starts them, and of the recordings that wait for them."""

from __future__ import annotations

from ccmusic.health import Observation, failed, passed, warned
from ccmusic.settings import Settings
from ccmusic.workers.supervisor_state import SupervisorState

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
    clients end workers and no recording at all is answered, then the recordings are not the cause. The kernel's bound
    on processor time is reached by a recording only.
    """
    horizon = state.read_at - CRASH_LOOP_SECONDS
    recent = [restart for restart in state.restarts if restart.at > horizon and restart.reason not in PLANNED]
    if len(recent) < CRASH_LOOP_RESTARTS:
        return passed(len(recent))
    at_bound = [restart for restart in recent if restart.reason == "bound"]
    by_recordings = [restart for restart in recent if restart.job is not None or restart in at_bound]
    clients = {restart.client for restart in by_recordings}
    nothing_answered = state.answered_at < min((restart.at for restart in by_recordings), default=state.read_at)
    if len(clients) >= CRASH_LOOP_CLIENTS and nothing_answered:
        by_recordings = at_bound
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
