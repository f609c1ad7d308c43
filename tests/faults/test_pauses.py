"""The whole service or its front process is stopped and continued: nothing is red, replaced or lost.

As with `docker pause`, a virtual machine that is paused, or the lid of a laptop.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from faults.client import Answer, Client
from faults.drill import Once, prove
from faults.processes import descendants, state
from faults.service import Service
from faults.traffic import LONG, SHORT, probabilities
from support.waiting import wait_until

PROBES = ("/health", "/readyz", "/livez")
AFTER_SECONDS = 3.0
"""How long the probes are watched after a pause. An age that counted the pause makes them red in the first moments."""
LIMITS = {"job_timeout_seconds": 10, "max_wait_seconds": 10, "heartbeat_seconds": 1, "self_test_seconds": 1}
"""Each is shorter than the longest pause."""
BUSY_WINDOWS = 60
"""Busy for a second or more; and on a slow machine the predicted wait is still shorter than `max_wait_seconds`."""


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """The processes are stopped while the block runs, and continue in the given order."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        prove(lambda: all(state(pid) == "T" for pid in pids), "the processes are stopped")
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def all_processes(service: Service) -> list[int]:
    """The front process first: after a pause it runs before the workers do."""
    return [service.pid, *descendants(service.pid)]


def elapse(seconds: float) -> None:
    """A pause lasts this long."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end, "the time is over", seconds + 60)


def probe(address: str, path: str) -> Answer:
    client = Client(address, 60)
    try:
        return client.get(path)
    finally:
        client.close()


class Reds:
    """Every answer of a probe that is not 200, on both ports, while the block runs."""

    def __init__(self, service: Service) -> None:
        self.found: list[str] = []
        self._ended = threading.Event()
        addresses = (service.address, service.management)
        self._threads = [threading.Thread(target=self._read, args=(address,), daemon=True) for address in addresses]

    def __enter__(self) -> Reds:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def note(self, path: str, answer: Answer) -> None:
        if answer.status != 200:
            self.found.append(f"{path}: {answer.status} {answer.text[:300]}")

    def _read(self, address: str) -> None:
        client = Client(address, 60)
        while not self._ended.wait(0.01):
            for path in PROBES:
                try:
                    self.note(path, client.get(path))
                except Exception as error:  # a probe without an answer counts as failed
                    self.found.append(f"{path}: {type(error).__name__}: {error}")
        client.close()


def pause(once: Once, pids: Callable[[Service], list[int]], seconds: float) -> None:
    """Stop the processes for some seconds, and require that no probe is red afterwards and no worker is replaced.

    Some probes are sent while the service is stopped, so that they are answered first.
    """
    service = once.service
    before = service.look().body["restarts"]["total"]
    with ThreadPoolExecutor(2 * len(PROBES)) as pool:
        once.begin()
        with stopped(pids(service)):
            queued = [
                (path, pool.submit(probe, address, path))
                for address in (service.address, service.management)
                for path in PROBES
            ]
            elapse(seconds)
        with Reds(service) as reds:
            elapse(AFTER_SECONDS)
            for path, answer in queued:
                reds.note(path, answer.result())
    body = service.look().body
    once.within = not reds.found and body["restarts"]["total"] == before
    assert not reds.found, reds.found[:5]
    assert body["restarts"]["total"] == before, body["restarts"]


@pytest.mark.fault("P20")
def test_a_pause_of_all_processes_while_idle(row, start):
    with start(**LIMITS) as service:
        for once in row.repeats(service):
            pause(once, all_processes, 6.0)
            assert "the whole process was stopped for" in service.log.read_text()
            once.recovered_when(since=time.monotonic())


@pytest.mark.fault("P21")
def test_a_pause_of_all_processes_while_busy(row, start):
    with start(**LIMITS) as service:
        reference = probabilities(service.classify(LONG, windows=BUSY_WINDOWS))
        for once in row.repeats(service):
            # two run, one waits
            answers: list[Future[Answer]] = [service.classify_later(LONG, windows=BUSY_WINDOWS) for _ in range(3)]
            wait_until(lambda: service.look().body["queue"]["running"] == 2, "both workers are busy")
            pause(once, all_processes, 12.0)
            for answer in answers:
                once.requests += 1
                found = answer.result()
                assert found.status == 200, found.text
                once.judge(found, reference)
            once.recovered_when(since=time.monotonic())


@pytest.mark.fault("P22")
def test_a_pause_of_the_front_process_alone(row, start):
    with start(**LIMITS) as service:
        reference = probabilities(service.classify(SHORT))
        for once in row.repeats(service):
            for seconds in (2.5, 6.0):
                pause(once, lambda service: [service.pid], seconds)
            once.recovered_when(since=time.monotonic())
            once.judge(service.classify(SHORT), reference)
