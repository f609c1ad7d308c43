"""One drill: repeats of a fault, each with its times of detection and recovery."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from faults.catalogue import CATALOGUE
from faults.client import Answer
from faults.false_alarms import false_reds, false_restarts
from faults.look import Look
from faults.probe_watch import Red
from faults.processes import ProcessorWait
from faults.service import Service, end_of
from faults.traffic import SHORT, Traffic, differs
from support.waiting import PATIENCE_SECONDS, wait_until

DETECT_SECONDS = RECOVER_SECONDS = PATIENCE_SECONDS
"""When a drill gives up. The bounds of the catalogue are measured, and the matrix marks each that was missed."""
SLOW_REPEATS = 5


def prove(condition: Callable[[], bool], what: str) -> None:
    """Wait until something other than the service's own reports shows that the fault was injected."""
    wait_until(condition, f"the injection shows: {what}")


@dataclass
class Once:
    """One repeat.

    Attributes
    ----------
    detected, recovered : float or None
        Seconds from the fault.
    within : bool or None
        Whether a bound that is not a time was kept.
    held_up : float
        Seconds until the detection in which the front process, the victim or this test waited for a processor.
    false_reds, false_restarts : int or None
        What the fault does not explain; None where the service was not watched because it starts with the fault.
    log_end : str
        The last lines of the service's log, if there was something that the fault does not explain.
    """

    number: int
    service: Service | None = None
    traffic: Traffic | None = None
    detected: float | None = None
    recovered: float | None = None
    bound: float | None = None
    within: bool | None = None
    held_up: float = 0.0
    requests: int = 0
    wrong: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    false_reds: list[Red] | None = None
    false_restarts: Counter[str] | None = None
    since: float = 0.0
    injected_at: float = 0.0
    recovered_at: float = math.inf
    log_end: str = ""
    processor_wait: ProcessorWait | None = None

    def begin(self, victim: int | None = None) -> None:
        """Start the time; called at the moment of the injection.

        Parameters
        ----------
        victim : int, optional
            A process that must run before the fault is complete.
        """
        if self.service is not None:
            self.processor_wait = ProcessorWait(*filter(None, (os.getpid(), self.service.pid, victim)))
        self.since = time.monotonic()
        self.injected_at = self.injected_at or self.since

    def detected_when(
        self, *conditions: Callable[[Look], bool], side: bool = False, timeout: float = DETECT_SECONDS
    ) -> float:
        """Read the probes until each condition has held once; the last of these moments is the detection.

        The conditions need not hold at the same moment: a probe may be false only between two readings of the metrics.
        """
        waiting = list(conditions)
        seen: list[dict[str, object]] = []

        def look() -> bool:
            now = self.service.look(side=side)
            if self.processor_wait is not None:
                self.processor_wait.read()
            waiting[:] = [condition for condition in waiting if not condition(now)]
            seen[:] = [now.body]
            return not waiting

        try:
            wait_until(look, "the fault shows in probes and metrics", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; {len(waiting)} of {len(conditions)} signs missing; {seen}") from None
        return self.detected_now()

    def detected_now(self) -> float:
        """The fault is detected at this moment."""
        self.detected = time.monotonic() - self.since
        if self.processor_wait is not None:
            self.held_up = self.processor_wait.read()
        return self.detected

    @property
    def verdict(self) -> str | None:
        """Whether the bound was kept: `yes`, `no`, or `busy` if only without the time in which the machine was busy."""
        if self.within is not None:
            return "yes" if self.within else "no"
        if self.detected is None or self.bound is None:
            return None
        return "yes" if self.detected <= self.bound else "busy" if self.detected - self.held_up <= self.bound else "no"

    def recovered_when(self, *, since: float | None = None, timeout: float = RECOVER_SECONDS) -> float:
        """Wait until everything is green and the test recording has the right answer.

        Parameters
        ----------
        since : float, optional
            When the cause was removed, for faults that last until then; by default the injection.
        """
        self.service.wait_green(timeout)
        answer = self.service.classify(SHORT)
        assert answer.status == 200, answer.text
        if self.traffic is not None:
            assert not differs(answer, self.traffic.reference), answer.text
        self.recovered_at = time.monotonic()
        self.recovered = self.recovered_at - (self.since if since is None else since)
        return self.recovered

    def judge(self, answer: Answer, reference: dict[str, float]) -> None:
        """Count the answer as wrong if it differs from the reference."""
        self.wrong += differs(answer, reference)


class Row:
    """A row of the matrix.

    Parameters
    ----------
    name : str
        Its id in the catalogue.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.entry = CATALOGUE[name]
        requested = int(os.environ.get("CCMUSIC_TEST_REPEATS", "1"))
        self.n_repeats = min(requested, SLOW_REPEATS) if self.entry.slow else requested
        self.repeated: list[Once] = []
        self.remarks: list[str] = []
        self.figures: dict[str, list[float]] = {}
        self.failure: str | None = None

    def remark(self, text: str) -> None:
        """Add a text to the last column, once."""
        if text not in self.remarks:
            self.remarks.append(text)

    def figure(self, name: str, value: float) -> None:
        """Add another number of this repeat; the last column gives median and extremes of each."""
        self.figures.setdefault(name, []).append(value)

    def repeats(self, service: Service | None = None, traffic: Traffic | None = None) -> Iterator[Once]:
        """The requested number of repeats. One service for all of them proves that each recovery was complete."""
        for number in range(self.n_repeats):
            if service is not None:
                service.wait_green()
            once = Once(number, service, traffic, bound=self.entry.bound_seconds)
            requests, wrong, errors = traffic.counts() if traffic else (0, 0, Counter())
            restarts = service.look().body["restarts"] if service else {}
            with ExitStack() as stack:
                watch = stack.enter_context(service.probe_watch()) if service is not None else None
                yield once
                if watch is not None:
                    watch.read_on()
            if traffic is not None:
                requests_now, wrong_now, errors_now = traffic.counts()
                once.requests += requests_now - requests
                once.wrong += wrong_now - wrong
                once.errors.update(errors_now - errors)
            if watch is not None:
                once.false_reds = false_reds(watch.reds, self.entry.reds, once.injected_at, once.recovered_at)
            if service is not None and service.process.poll() is None:
                now = service.look().body["restarts"]
                once.restarts = now["total"] - restarts["total"]
                more = Counter(now["by_reason"]) - Counter(restarts["by_reason"])
                once.false_restarts = false_restarts(more, self.entry.restarts)
            if once.false_reds or once.false_restarts:
                once.log_end = end_of(service.log)
            self.repeated.append(once)
