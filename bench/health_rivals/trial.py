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
from observe import REQUESTS_AT_ONCE, Caller, Poll, Poller, Ranking, Request, ask, same, wait_until

from ccmusic.models.card import CARD_NAME, read_card
from ccmusic.models.card_parts import Calibration

START_SECONDS = 300.0
QUIET_SECONDS = 3.0  # observed before the fault; whatever is not in order then is not the fault's work
PROOF_SECONDS = 8.0
PAUSE_SECONDS = 10.0
BUSY_SECONDS = 0.02  # after the sending of two requests, when each worker has one
IDLE_SECONDS = 0.4  # when both have long been answered and the next two are not yet sent
LOOP_WINDOW_SECONDS = 1.0
LOOP_CPU_SECONDS = 0.5  # of one second; serving the bench's own requests takes a worker about a tenth


@dataclass(frozen=True, slots=True)
class Trial:
    """What was seen; times in seconds from the injection, for a pause from its end.

    Attributes
    ----------
    red_before : int
        Polls in the quiet seconds before the fault that were not answered with 200.
    replaced : float or None
        When two running workers were seen, one of them new; None if that was not seen.
    false_restarts : int
        Workers that ran before the fault, were not touched by it, and were gone at the end.
    """

    service: str
    fault: str
    proof: str
    observed: float
    polls: dict[str, list[Poll]]
    red_before: int
    requests: list[Request]
    replaced: float | None
    false_restarts: int
    workers_at_end: str


@dataclass(frozen=True, slots=True)
class Injected:
    """The proof of a fault, and the processes that it touched."""

    proof: str
    victims: set[int]


def kill(service: Adapter) -> Injected:
    """SIGKILL to one worker, as the OOM killer does."""
    victim = min(service.workers())
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not processes.runs(victim), PROOF_SECONDS, "the killed worker is gone")
    return Injected("a zombie in /proc" if processes.state(victim) else "its pid is gone from /proc", {victim})


def freeze(service: Adapter) -> Injected:
    """SIGSTOP to one worker."""
    victim = min(service.workers())
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: processes.state(victim) in ("T", None), PROOF_SECONDS, "the worker is stopped")
    return Injected(f"state {processes.state(victim)} in /proc", {victim})


def freeze_all(service: Adapter) -> Injected:
    """Send SIGSTOP to every worker, so that none can answer."""
    victims = service.workers()
    for victim in victims:
        os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: all(processes.state(v) in ("T", None) for v in victims), PROOF_SECONDS, "all are stopped")
    return Injected(f"state {', '.join(str(processes.state(victim)) for victim in victims)} in /proc", victims)


def pause(service: Adapter) -> Injected:
    """Stop every process of the service, as a paused container or virtual machine, and continue them 10 s later."""
    everything = service.processes()
    for pid in everything:
        os.kill(pid, signal.SIGSTOP)
    wait_until(
        lambda: {processes.state(pid) for pid in everything} <= {"T", "Z", None}, PROOF_SECONDS, "all are stopped"
    )
    threading.Event().wait(PAUSE_SECONDS)
    for pid in everything:
        os.kill(pid, signal.SIGCONT)
    return Injected(f"{len(everything)} processes in state T in /proc", set())


def loop(service: Adapter) -> Injected:
    """An endless loop in the handler of one request; on a busy machine it may get little processor time."""
    service.loop()
    wait_until(lambda: service.looping() is not None, PROOF_SECONDS, "a worker loops")
    victim = service.looping()
    assert victim is not None
    before = processes.cpu_seconds(victim)
    threading.Event().wait(LOOP_WINDOW_SECONDS)
    used = processes.cpu_seconds(victim) - before
    return Injected(f"worker {victim} entered the loop and used {used:.2f} s of processor time in a second", {victim})


def corrupt(service: Adapter) -> Injected:
    """Wrong weights in the memory of one worker."""
    proof, victim = service.corrupt()
    return Injected(proof, {victim})


def exchange(service: Adapter) -> Injected:
    """Replace the model on disk by another valid one, then kill a worker, so that a new one loads a model."""
    card = read_card(service.model / CARD_NAME)
    card.model_copy(update={"calibration": (Calibration(seconds=1.0, temperature=5.0),)}).save(service.model)
    killed = kill(service)
    return Injected(f"card.json has another calibration; the killed worker: {killed.proof}", killed.victims)


FAULTS: dict[str, tuple[Callable[[Adapter], Injected], float]] = {
    "kill": (kill, BUSY_SECONDS),
    "kill-idle": (kill, IDLE_SECONDS),
    "stop": (freeze, BUSY_SECONDS),
    "stop-idle": (freeze, IDLE_SECONDS),
    "stop-all": (freeze_all, IDLE_SECONDS),
    "loop": (loop, IDLE_SECONDS),
    "corrupt": (corrupt, IDLE_SECONDS),
    "exchange": (exchange, IDLE_SECONDS),
    "pause": (pause, IDLE_SECONDS),
}
"""The function that injects each fault, and for how long requests were sent afterwards."""


def run(service: Adapter, fault: str, recording: bytes, seconds: float) -> Trial:
    """Carry out one trial on a service that is started for it alone."""
    inflict, moment = FAULTS[fault]
    with service:
        body, headers = service.body(recording)
        expected = _well(service, body, headers)
        poller = Poller(service.probes())
        caller = Caller((service.url, service.path, body, headers), service.ranking, expected)
        try:
            threading.Event().wait(QUIET_SECONDS)
            before = service.workers()
            if any(r.outcome != "right" for r in caller.requests):
                raise RuntimeError(f"not well before the fault: {[r.outcome for r in caller.requests]}")
            caller.wait_after_sending(moment)
            injected = time.monotonic()
            watch = _Replacement(service, before)
            quiet_end = injected
            done = inflict(service)
            if fault == "pause":
                injected = time.monotonic()
            threading.Event().wait(max(0.0, injected + seconds - time.monotonic()))
            seen = watch.stop()
            replaced = None if seen is None else seen - injected
            at_end = _census(service)
            false_restarts = len({pid for pid in before - done.victims if not processes.runs(pid)})
        finally:
            requests = caller.stop()
            polls = poller.stop()
    return Trial(
        service.name,
        fault,
        done.proof,
        seconds,
        {
            endpoint: [(asked - injected, said) for asked, said in seen if 0 <= asked - injected <= seconds]
            for endpoint, seen in polls.items()
        },
        sum(said != "200" for seen in polls.values() for asked, said in seen if asked < quiet_end),
        [
            Request(r.sent - injected, r.ended - injected, r.outcome)
            for r in requests
            if injected < r.ended and r.sent - injected <= seconds
        ],
        replaced,
        false_restarts,
        at_end,
    )


def _well(service: Adapter, body: bytes, headers: dict[str, str]) -> Ranking:
    """Wait for the service to be up and green, and take the answer that all workers agree on."""

    def up() -> bool:
        if not service.alive():
            raise RuntimeError(f"{service.name} ended while it started; see {service.log.name}")
        green = all(ask(*probe, None, {}, 2)[0] == "200" for probe in service.probes().values())
        return green and len(service.workers()) >= REQUESTS_AT_ONCE

    wait_until(up, START_SECONDS, f"{service.name} is up")
    answers = [service.ranking(ask(service.url, service.path, body, headers, 30)[1]) for _ in range(6)]
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
        else "computing"
        if processes.cpu_seconds(pid) - cpu[pid] >= LOOP_CPU_SECONDS
        else "running"
        for pid in workers
    )
    return ", ".join(f"{n} {fate}" for fate, n in sorted(fates.items())) or "none"


class _Replacement:
    """Watches for the moment when two workers run, at least one of them new, and none of them is the stopped one."""

    def __init__(self, service: Adapter, before: set[int]) -> None:
        self._service, self._before = service, before
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
                self._seen = time.monotonic()
