"""One fault against one service: start it, check that it works, inject the fault, verify the fault, observe."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import processes
from adapters import Adapter
from observe import REQUESTS_AT_ONCE, Caller, Poll, Poller, Ranking, Request, ask, ranking, same, wait_until

START_SECONDS = 90.0
QUIET_SECONDS = 3.0  # observed before the fault; whatever is not in order then is not the fault's work
PROOF_SECONDS = 8.0
BUSY_SECONDS = 0.02  # after the sending of two requests, when each worker has one
IDLE_SECONDS = 0.4  # when both have long been answered and the next two are not yet sent
LOOP_WINDOW_SECONDS = 1.0
LOOP_CPU_SECONDS = 0.5  # of one second; serving the bench's own requests takes a worker about a tenth


@dataclass(frozen=True, slots=True)
class Trial:
    """What was seen; times in seconds from the injection."""

    service: str
    fault: str
    proof: str
    observed: float
    polls: dict[str, list[Poll]]
    requests: list[Request]
    replaced: float | None
    workers_at_end: str


def kill(service: Adapter) -> str:
    """SIGKILL to one worker, as the OOM killer does."""
    victim = min(service.workers())
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not processes.runs(victim), PROOF_SECONDS, "the killed worker is gone")
    return "a zombie in /proc" if processes.state(victim) else "its pid is gone from /proc"


def freeze(service: Adapter) -> str:
    """SIGSTOP to one worker."""
    victim = min(service.workers())
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: processes.state(victim) in ("T", None), PROOF_SECONDS, "the worker is stopped")
    return f"state {processes.state(victim)} in /proc"


def freeze_all(service: Adapter) -> str:
    """Send SIGSTOP to every worker, so that none can answer."""
    victims = service.workers()
    for victim in victims:
        os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: all(processes.state(v) in ("T", None) for v in victims), PROOF_SECONDS, "all are stopped")
    return f"state {', '.join(str(processes.state(victim)) for victim in victims)} in /proc"


def loop(service: Adapter) -> str:
    """An endless loop in the handler of one request."""
    workers = service.workers()
    service.loop()
    most = 0.0
    deadline = time.monotonic() + PROOF_SECONDS
    while most < LOOP_CPU_SECONDS:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no worker loops: {most:.2f} s of processor time in a second at most")
        before = {pid: processes.cpu_seconds(pid) for pid in workers}
        threading.Event().wait(LOOP_WINDOW_SECONDS)
        most = max(processes.cpu_seconds(pid) - before[pid] for pid in workers)
    return f"a worker used {most:.2f} s of processor time in {LOOP_WINDOW_SECONDS:.0f} s"


def corrupt(service: Adapter) -> str:
    """Wrong weights in the memory of one worker."""
    return service.corrupt()


FAULTS: dict[str, tuple[Callable[[Adapter], str], float]] = {
    "kill": (kill, BUSY_SECONDS),
    "kill-idle": (kill, IDLE_SECONDS),
    "stop": (freeze, BUSY_SECONDS),
    "stop-idle": (freeze, IDLE_SECONDS),
    "stop-all": (freeze_all, IDLE_SECONDS),
    "loop": (loop, IDLE_SECONDS),
    "corrupt": (corrupt, IDLE_SECONDS),
}
"""The function that injects each fault, and for how long requests were sent afterwards."""


def run(service: Adapter, fault: str, recording: bytes, seconds: float) -> Trial:
    """Carry out one trial on a service that is started for it alone."""
    inflict, moment = FAULTS[fault]
    with service:
        body, headers = service.body(recording)
        expected = _well(service, body, headers)
        poller = Poller(service.url, service.endpoints)
        caller = Caller(service.url, service.path, body, headers, expected)
        try:
            threading.Event().wait(QUIET_SECONDS)
            before = service.workers()
            if any(r.outcome != "right" for r in caller.requests):
                raise RuntimeError(f"not well before the fault: {[r.outcome for r in caller.requests]}")
            caller.wait_after_sending(moment)
            injected = time.monotonic()
            watch = _Replacement(service, before, injected)
            proof = inflict(service)
            threading.Event().wait(max(0.0, injected + seconds - time.monotonic()))
            replaced = watch.stop()
            at_end = _census(service)
        finally:
            requests = caller.stop()
            polls = poller.stop()
    return Trial(
        service.name,
        fault,
        proof,
        seconds,
        {
            endpoint: [(asked - injected, said) for asked, said in seen if 0 <= asked - injected <= seconds]
            for endpoint, seen in polls.items()
        },
        [
            Request(r.sent - injected, r.ended - injected, r.outcome)
            for r in requests
            if injected < r.ended and r.sent - injected <= seconds
        ],
        replaced,
        at_end,
    )


def _well(service: Adapter, body: bytes, headers: dict[str, str]) -> Ranking:
    """Wait for the service to be up and green, and take the answer that all workers agree on."""

    def up() -> bool:
        if not service.alive():
            raise RuntimeError(f"{service.name} ended while it started; see {service.log.name}")
        green = all(ask(service.url, path, None, {}, 2)[0] == "200" for path in service.endpoints)
        return green and len(service.workers()) >= REQUESTS_AT_ONCE

    wait_until(up, START_SECONDS, f"{service.name} is up")
    answers = [ranking(ask(service.url, service.path, body, headers, 30)[1]) for _ in range(6)]
    if not answers[0] or not all(same(answer, answers[0]) for answer in answers):
        raise RuntimeError(f"{service.name} gives no steady answer: {answers}")
    return answers[0]


def _census(service: Adapter) -> str:
    """What the workers do at the end, in words: a worker that is listed may still be of no use."""
    if not service.alive():
        return "the service has ended"
    workers = service.workers()
    cpu = {pid: processes.cpu_seconds(pid) for pid in workers}
    threading.Event().wait(LOOP_WINDOW_SECONDS)
    fates = Counter(
        "stopped"
        if processes.state(pid) == "T"
        else "looping"
        if processes.cpu_seconds(pid) - cpu[pid] >= LOOP_CPU_SECONDS
        else "running"
        for pid in workers
    )
    return ", ".join(f"{n} {fate}" for fate, n in sorted(fates.items())) or "none"


class _Replacement:
    """Watches for the moment when two workers run, at least one of them new, and none of them is the stopped one."""

    def __init__(self, service: Adapter, before: set[int], injected: float) -> None:
        self._service, self._before, self._injected = service, before, injected
        self._end = threading.Event()
        self._seen: float | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float | None:
        self._end.set()
        self._thread.join()
        return self._seen

    def _watch(self) -> None:
        while self._seen is None and not self._end.wait(0.1):
            working = {pid for pid in self._service.workers() if processes.state(pid) != "T"}
            if working - self._before and len(working) >= len(self._before):
                self._seen = time.monotonic() - self._injected
