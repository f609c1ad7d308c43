"""The front process: blocked, killed, terminated, and started with a bad configuration."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from faults.client import Client
from faults.drill import Once, prove
from faults.processes import descendants, has_ended, started_at, state
from faults.service import COMMAND, Service, environment
from faults.traffic import LONG, LONG_WINDOWS, SHORT, differs, probabilities
from support.waiting import wait_until


@pytest.mark.fault("P7")
def test_a_blocked_loop_shows_at_the_management_port(row, under_traffic):
    with under_traffic() as (service, traffic):
        for once in row.repeats(service, traffic):
            once.begin()
            injected = service.inject_later("block-loop", size=5)
            once.detected_when(
                lambda now: now.live is not None and now.live.status == 503 and "event_loop: blocked" in now.live.text,
                lambda now: now.metric("ccmusic_event_loop_lag_seconds") > 1,
                side=True,
            )
            with pytest.raises(OSError):  # the proof: the main port does not answer
                Client(service.address, 0.3).get("/livez")
            # the stack of the loop's thread, with the call that blocks it
            assert re.search(r'File ".*threading.py", line \d+, in wait', service.look(side=True).live.text)
            injected.exception()
            once.recovered_when()
            row.remark("recovery includes the rest of the 5 s of blocking")


@pytest.mark.fault("P10")
def test_no_process_remains_after_the_front_process_is_killed(row, tmp_path):
    for once in row.repeats():
        slowest = 0.0
        for case in ("idle", "busy in native code", "a worker stopped"):
            directory = tmp_path / f"{once.number}-{case.replace(' ', '-')}"
            service = Service(directory)
            try:
                service.wait_green()
                _kill_front(service, case, once)
                slowest = max(slowest, once.detected)
            finally:
                service.kill()
            begun = time.monotonic()
            again = Service(directory, port=int(service.address.rpartition(":")[2]))
            try:
                again.wait_green()
                assert again.classify(SHORT).status == 200
                once.recovered = max(once.recovered or 0.0, time.monotonic() - begun)
            finally:
                again.stop()
        once.detected = slowest
    row.remark(
        "idle, busy and with a stopped worker, the slowest of the three; recovered = next start on the same port"
    )


def _kill_front(service: Service, case: str, once: Once) -> None:
    answers = []
    if case.startswith("busy"):
        answers = [service.classify_later(LONG, windows=LONG_WINDOWS) for _ in range(2)]
        wait_until(
            lambda: all(w["state"] == "busy" and w["stage_seconds"] > 0.2 for w in service.look().workers),
            "all are in the middle of a job",
        )
    below = {pid: started_at(pid) for pid in descendants(service.pid)}
    assert len(below) >= 2
    if case == "a worker stopped":
        victim = service.worker("idle", "busy", "testing")
        os.kill(victim, signal.SIGSTOP)
        prove(lambda: state(victim) == "T", "the worker is stopped")
    once.begin()
    os.kill(service.pid, signal.SIGKILL)
    service.process.wait()
    wait_until(lambda: not left(below), f"no process is left ({case}): {below}", 30)
    once.detected_now()
    for answer in answers:
        assert answer.exception() is not None


def left(processes: dict[int, str | None]) -> list[int]:
    """Which of these processes have not ended."""
    return [pid for pid, begun in processes.items() if started_at(pid) == begun and not has_ended(pid)]


def accepted(service: Service, answers: list) -> int:
    """How many requests wait, are processed or are answered, by a sample that may be half a second old."""
    queue = service.look().body["queue"]
    return queue["waiting"] + queue["running"] + sum(answer.done() for answer in answers)


@pytest.mark.fault("O1")
def test_accepted_recordings_are_answered_after_sigterm(row, start):
    n_requests = 10
    for once in row.repeats():
        # on a slow machine ten long recordings take longer than the default limits of waiting and draining
        with start(workers=2, drain_linger_seconds=1, max_wait_seconds=120, drain_seconds=120, port=0) as service:
            once.service = service
            reference = probabilities(service.classify(LONG, windows=100))
            answers = [service.classify_later(LONG, windows=100) for _ in range(n_requests)]
            wait_until(lambda s=service, a=answers: accepted(s, a) >= n_requests, "all were accepted")
            once.begin()
            service.process.send_signal(signal.SIGTERM)
            once.detected_when(lambda now: now.unready("drain"), side=True, timeout=30)
            for answer in answers:
                once.requests += 1
                try:
                    found = answer.result()
                except Exception as error:  # a lost request, of whatever kind
                    once.errors[type(error).__name__] += 1
                    continue
                if found.status == 200:
                    once.judge(found, reference)
                else:
                    once.errors[f"{found.status} {found.problem}"] += 1
            code = service.process.wait(60)
            once.recovered = time.monotonic() - once.since
            once.within = code == 0 and not once.errors
            assert not once.errors, once.errors
            assert code == 0
    row.remark(f"{n_requests} accepted requests on 2 workers; errors: of these; recovered = until the end, exit code 0")


@pytest.mark.fault("O4")
def test_a_bad_configuration_and_a_taken_port_have_their_own_exit_codes(row, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases = (
            (3, {"workers": "none"}, 0, "CCMUSIC_WORKERS"),
            (3, {"wrokers": "2"}, 0, "CCMUSIC_WROKERS"),
            (3, {"management_port": "70000"}, 0, "CCMUSIC_MANAGEMENT_PORT"),
            (4, {}, port, str(port)),
        )
        for once in row.repeats():
            for code, settings, requested, text in cases:
                once.begin()
                ended = subprocess.run(
                    [*COMMAND, "--port", str(requested)],
                    env=environment(str(tmp_path), **settings),
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
                once.detected = max(once.detected or 0.0, time.monotonic() - once.since)
                assert ended.returncode == code, ended.stderr
                lines = ended.stderr.strip().splitlines()
                assert len(lines) == 1, ended.stderr
                assert text in lines[0]
            once.within = True
    row.remark("exit codes 3 and 4, one line that names the variable or the port")


@pytest.mark.fault("O3")
def test_a_replica_that_answers_with_errors_is_not_ready(row, under_traffic):
    with under_traffic() as (service, traffic):
        for once in row.repeats(service, traffic):
            once.begin()
            service.inject("error")
            once.detected_when(
                lambda now: now.unready(r"errors: \S"),
                lambda now: now.measures("errors", "fail"),
            )
            prove(lambda: service.classify(SHORT).status == 500, "an answer is 500")
            assert service.look().live.status == 200
            cleared = time.monotonic()
            service.clear_faults()
            once.recovered_when(since=cleared)
    with under_traffic(last_replica="true") as (service, traffic):
        service.inject("error")
        red = threading.Event()
        ready = []

        def look() -> bool:
            now = service.look()
            ready.append(now.ready.status)
            if now.health.status == 503 and "errors" in now.health.text:
                red.set()
            return red.is_set()

        wait_until(look, "/health is red")
        assert set(ready) == {200}, "the last replica stays ready"
        assert not differs_after_clearing(service, traffic)
    row.remark("errors seen by others are the injected ones; with CCMUSIC_LAST_REPLICA only /health is red")


def differs_after_clearing(service: Service, traffic) -> bool:
    service.clear_faults()
    service.wait_green()
    return differs(service.classify(SHORT), traffic.reference)


@pytest.mark.fault("O2")
def test_a_stopped_self_test_is_noticed_by_its_age(row, under_traffic):
    period = 1.0
    row.remark(f"detected = the warning; period here {period:g} s")
    with under_traffic(self_test_seconds=period) as (service, traffic):
        for once in row.repeats(service, traffic):
            once.bound = 3 * period
            once.begin()
            service.inject("pause-self-test")
            once.detected_when(
                lambda now: any(now.reports("self_test", status) for status in ("warn", "fail")),
                lambda now: any(now.measures("self_test", status) for status in ("warn", "fail")),
            )
            wait_until(lambda: service.look().unready("self_test"), "not ready")
            row.figure("seconds until not ready", time.monotonic() - once.since)
            cleared = time.monotonic()
            service.clear_faults()
            once.recovered_when(since=cleared)
