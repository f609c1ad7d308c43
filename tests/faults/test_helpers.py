"""Processes that serve the workers: the fork server and the preparation of a checkpoint. There are no others."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack

import pytest

from faults.drill import prove
from faults.look import Look, replaced
from faults.processes import TaskGroup, burners, descendants, has_ended, started_at, state
from faults.service import Service
from faults.traffic import SHORT
from support.checkpoints import write_checkpoint, write_recordings
from support.waiting import wait_until


def helper_lost(cause: str):
    """Signs that the fork server was lost."""
    return (
        lambda now: now.reports("helpers", "warn", cause),
        lambda now: now.measures("helpers", "warn"),
    )


@pytest.mark.fault("P11a")
def test_a_killed_fork_server_is_replaced_and_no_worker_with_it(row, under_traffic):
    with under_traffic() as (service, traffic):
        for once in row.repeats(service, traffic):
            workers = [worker["pid"] for worker in service.look().workers]
            victim = service.fork_server()
            once.begin()
            os.kill(victim, signal.SIGKILL)
            once.detected_when(*helper_lost("SIGKILL"))
            prove(lambda pid=victim: has_ended(pid), "the process has ended")
            wait_until(lambda: service.look().check("helpers")[0] == "pass", "another one is ready")
            once.recovered_when()
            assert service.fork_server() != victim
            assert [worker["pid"] for worker in service.look().workers] == workers, "they work on"
        assert not traffic.counts()[2], "no request has failed"
    row.remark("the workers work on, and no request fails")


@pytest.mark.fault("P11b")
def test_a_stopped_fork_server_is_replaced_before_it_is_needed(row, under_traffic):
    with under_traffic() as (service, traffic):
        for once in row.repeats(service, traffic):
            victim = service.fork_server()
            worker = service.worker("idle", "busy", "testing")
            signs = replaced(service.look(), "killed", "SIGKILL")
            once.begin()
            os.kill(victim, signal.SIGSTOP)
            prove(lambda pid=victim: state(pid) == "T", "the fork server is stopped")
            os.kill(worker, signal.SIGKILL)
            once.detected_when(*helper_lost("no sign of life"), *signs)
            assert service.look().live.status == 200
            wait_until(lambda: service.look().check("helpers")[0] == "pass", "another one is ready")
            once.recovered_when()
            prove(lambda pids=(victim, worker): all(map(gone, pids)), "nothing is left of both")
        assert not traffic.counts()[2], "no request has failed"
    row.remark("the other worker answers meanwhile")


def gone(pid: int) -> bool:
    return state(pid) is None


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        pytest.param(signal.SIGKILL, "ended with exit code -9", marks=pytest.mark.fault("P11c"), id="killed"),
        pytest.param(signal.SIGSTOP, "was stopped for", marks=pytest.mark.fault("P11d"), id="stopped"),
    ],
)
def test_a_lost_preparation_is_named_and_tried_again(row, start, tmp_path, number, cause):
    audio = write_recordings(tmp_path / "audio", 1)
    checkpoint = write_checkpoint(tmp_path)
    for once in row.repeats():
        cache = tmp_path / f"cache-{once.number}"
        with start(wait=False, model=checkpoint, model_cache=cache, import_audio=audio) as service:
            once.service = service
            victim = service.preparation()
            once.begin()
            os.kill(victim, number)
            if number == signal.SIGSTOP:
                prove(lambda pid=victim: state(pid) == "T", "it is stopped")
            once.detected_when(
                lambda now: now.reports("model", "fail", cause),
                lambda now: now.measures("model", "fail"),
            )
            assert service.look().live.status == 200
            prove(lambda pid=victim: gone(pid), "nothing is left of it")
            once.recovered_when()
    row.remark("recovered includes the whole import")


def _nothing(service: Service) -> None:
    return


def _stop_fork_server(service: Service) -> None:
    os.kill(service.fork_server(), signal.SIGSTOP)


def _kill_fork_server(service: Service) -> None:
    os.kill(service.fork_server(), signal.SIGKILL)


def _stop_worker(service: Service) -> None:
    os.kill(service.worker("idle"), signal.SIGSTOP)


def _stop_all(service: Service) -> None:
    for pid in descendants(service.pid):
        os.kill(pid, signal.SIGSTOP)


def _stop_fork_server_and_kill_worker(service: Service) -> None:
    worker = service.worker("idle")
    _stop_fork_server(service)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: state(worker) in ("Z", None), "the worker has ended")


def _stop_preparation(service: Service) -> None:
    os.kill(service.preparation(), signal.SIGSTOP)


STATES = {
    "all is well": _nothing,
    "fork server stopped": _stop_fork_server,
    "fork server killed": _kill_fork_server,
    "fork server stopped, worker killed": _stop_fork_server_and_kill_worker,
    "worker stopped": _stop_worker,
    "everything below stopped": _stop_all,
    "fork server stopped while it starts": _stop_fork_server,
    "preparation stopped": _stop_preparation,
}


@pytest.mark.fault("P11e")
def test_sigterm_ends_every_process_in_each_of_these_states(row, tmp_path):
    audio = write_recordings(tmp_path / "audio", 1)
    checkpoint = write_checkpoint(tmp_path)
    for once in row.repeats():
        for name, break_it in STATES.items():
            directory = tmp_path / f"{once.number}-{name.replace(' ', '-')}"
            preparing = {"model": checkpoint, "model_cache": directory, "import_audio": audio}
            service = Service(directory, drain_seconds=3, **(preparing if "preparation" in name else {}))
            try:
                if break_it is not _stop_preparation and "starts" not in name:
                    service.wait_green()
                break_it(service)
                below = {pid: started_at(pid) for pid in descendants(service.pid)}
                once.begin()
                code = service.terminate()
                wait_until(lambda b=below: not left(b), f"no process is left ({name}): {below}", 30)
                seconds = time.monotonic() - once.since
                row.figure(f"{name}: seconds until the end", seconds)
                once.detected = max(once.detected or 0.0, seconds)
                assert code == 0, (name, service.log.read_text()[-3000:])
            finally:
                service.kill()
        once.within = True
    row.remark("detected = until no process is left, the slowest of these states; drain_seconds here 3 s")


def left(processes: dict[int, str | None]) -> list[int]:
    """Which of these processes have not ended."""
    return [pid for pid, begun in processes.items() if started_at(pid) == begun and not has_ended(pid)]


@pytest.mark.fault("P12")
def test_a_failed_fork_costs_one_worker(row, under_traffic):
    with ExitStack() as stack:
        service, traffic = stack.enter_context(under_traffic())
        try:
            group = stack.enter_context(TaskGroup())
        except OSError as error:
            pytest.skip(f"control groups cannot be made: {error}")
        group.add(service.pid, *descendants(service.pid))
        for once in row.repeats(service, traffic):
            workers = [worker["pid"] for worker in service.look().workers]
            victim = service.worker("idle", "busy", "testing")
            group.limit(1)
            once.begin()
            os.kill(victim, signal.SIGKILL)
            once.detected_when(
                lambda now: now.reports("workers", "warn", "a limit of processes is reached.*pids.max"),
                lambda now: now.measures("workers", "warn"),
            )
            prove(lambda pid=victim: has_ended(pid), "the process has ended")
            for _ in range(3):
                answer = service.classify(SHORT)
                assert answer.status == 200, answer.text
                once.judge(answer, traffic.reference)
            now = service.look()
            assert (now.health.status, now.ready.status, now.live.status) == (200, 200, 200), now.body
            others = [worker["pid"] for worker in now.workers if worker["pid"] in workers]
            assert len(others) == len(workers) - 1, "the other workers live on"
            back = time.monotonic()
            group.limit("max")
            once.recovered_when(since=back)
        assert not traffic.counts()[2], "no request has failed"
        group.limit(1)
        assert service.terminate() == 0, f"without a new thread: {service.log.read_text()[-6000:]}"
    row.remark(
        "pids.max = 1 in a control group: neither a process nor a thread can be started; recovered = from the "
        "end of the limit"
    )


@pytest.mark.fault("P13")
def test_a_slow_start_is_loading_and_nothing_else(row, start, tmp_path):
    delay = 6.0
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, time\n"
        "if 'fork_server' in ' '.join(sys.orig_argv):\n"
        f"    time.sleep({delay})\n"
        f"    os.register_at_fork(after_in_child=lambda: time.sleep({delay}))\n"
    )
    slow = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    for once in row.repeats():
        with ExitStack() as stack:
            for cpu in os.sched_getaffinity(0):
                stack.enter_context(burners(8, cpu))
            service = stack.enter_context(start(wait=False, heartbeat_seconds=0.5, **slow))
            once.service = service
            once.begin()
            seen: set[str] = set()

            def is_green(service: Service = service, seen: set[str] = seen) -> bool:
                now: Look = service.look()
                seen.update({now.body.get("message", ""), *(str(w["error"]) for w in now.workers)})
                return now.green

            wait_until(is_green, "it is green", 300)
            once.recovered = time.monotonic() - once.since
            assert once.recovered > 2 * delay
            assert service.look().body["restarts"]["total"] == 0, service.look().body["restarts"]
            assert not any("failed" in message for message in seen), seen
            assert seen & {"Model is still loading..."}
            once.within = True
    row.remark(
        f"{delay:g} s each before the fork server's imports and before a worker's first heartbeat, beside 8 busy loops "
        "per core; heartbeat_seconds 0.5"
    )
