"""Observing checks: on the sampler's own thread, or periodically on a thread that may block."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable

from ccmusic.health.check import Check, CheckResult, Observation, error_text, failed, passed, result_of
from ccmusic.health.clock import CLOCK
from ccmusic.health.stacks import stack_of
from ccmusic.health.waits import OWN_WAITS

logger = logging.getLogger(__name__)

NOT_YET = "not yet observed"


class Watch:
    """A check that is observed at each call of `result`, on the calling thread.

    Parameters
    ----------
    check : Check
    """

    def __init__(self, check: Check) -> None:
        self.check = check
        self._error: Exception | None = None
        self._logged = ("pass", "")

    @property
    def observed(self) -> bool:
        """Whether there is a result yet."""
        return True

    def start(self) -> None:
        """Start observing."""

    def stop(self) -> None:
        """Stop observing."""

    def result(self) -> CheckResult:
        """The current result."""
        return self._logged_result(self._observe(), time.time())

    def _observe(self) -> Observation:
        try:
            observation = _observation(self.check)
        except Exception as error:  # a check that raises has not passed
            self._error = error
            text = error_text(error)
            return failed(text, code="raised", message=f"Health check failed: {text}")
        self._error = None
        return observation

    def _logged_result(self, observation: Observation, observed_at: float) -> CheckResult:
        """The result. A change is logged; a different number in the cause does not count as one."""
        cause = observation.cause or ""
        news = (observation.status, re.sub(r"\d+", "#", cause))
        if news != self._logged:
            if observation.status == "pass":
                logger.info("check %s passes again", self.check.name)
            else:
                logger.warning("check %s: %s: %s", self.check.name, observation.status, cause, exc_info=self._error)
            self._logged = news
        return result_of(self.check, observation, observed_at)


class PeriodicWatch(Watch):
    """A check that is observed periodically on its own thread.

    Parameters
    ----------
    check : Check
        With a period.
    changed : callable
        Called on that thread when status, code or cause differ from the previous observation.
    """

    def __init__(self, check: Check, changed: Callable[[], None]) -> None:
        super().__init__(check)
        self._changed = changed
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._began: float | None = None  # on the clock of this process; None between two observations
        self._latest: tuple[Observation, float] | None = None

    @property
    def observed(self) -> bool:
        """Whether there is a result yet."""
        return self._latest is not None

    def start(self) -> None:
        """Start observing. Does nothing if it runs already."""
        if self._thread is not None:
            return
        self._stopping = threading.Event()
        self._began = CLOCK.now()  # set here, so that even a thread that never runs is noticed
        self._thread = threading.Thread(
            target=self._observe_forever, args=(self._stopping,), name=f"health-{self.check.name}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop observing. It does not wait for an observation in progress, which may be stuck."""
        self._stopping.set()
        self._thread = None
        self._began = None

    def result(self) -> CheckResult:
        """The last observation, or a fail if the present one is stuck."""
        now = CLOCK.now()  # first: this thread may wait for a processor between the two
        began, thread, latest = self._began, self._thread, self._latest
        if began is not None and thread is not None:
            seconds = OWN_WAITS.without(thread, now - began, self.check.stuck_seconds)
            if seconds > self.check.stuck_seconds:
                stack = stack_of(thread.ident)
                stuck = failed(f"stuck for {seconds:.0f} s", code="stuck", output=stack.text if stack else None)
                return self._logged_result(stuck, time.time())
        if latest is None:
            return result_of(self.check, passed(NOT_YET, code="not_observed"), time.time())
        return self._logged_result(*latest)

    def _observe_forever(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            self._began = CLOCK.now()
            observation = self._observe()
            if stopping.is_set():  # this thread was stuck and its successor has started
                return
            before, self._latest = self._latest, (observation, time.time())
            self._began = None
            if before is None or _news(before[0]) != _news(observation):
                self._changed()
            stopping.wait(self.check.period_seconds)


def _news(observation: Observation) -> tuple[object, ...]:
    return observation.status, observation.code, observation.cause


def _observation(check: Check) -> Observation:
    seen: object = check.observe()
    if seen is None:
        return passed()
    if not isinstance(seen, Observation):
        raise TypeError(f"check {check.name} returned {type(seen).__name__} instead of an Observation")
    return seen
