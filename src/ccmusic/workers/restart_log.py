"""What has happened to the workers since the start: counts that only grow, and the last few events."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

from ccmusic.workers.records import RESTART_REASONS, Restart, RestartReason, StackDump

logger = logging.getLogger(__name__)

KEPT_DUMPS = 10
KEPT_RESTARTS = 100


class RestartLog:
    """Thread-safe; survives a change of the model.

    Parameters
    ----------
    on_event : callable
        Called after anything that health should know at once.
    """

    def __init__(self, on_event: Callable[[], None]) -> None:
        self._on_event = on_event
        self._lock = threading.Lock()
        self._counts: Counter[RestartReason] = Counter()
        self._restarts: deque[Restart] = deque(maxlen=KEPT_RESTARTS)
        self._dumps: deque[StackDump] = deque(maxlen=KEPT_DUMPS)
        self._ids = itertools.count(1)

    def restart(self, worker: int, reason: RestartReason, cause: str) -> None:
        """Note that a worker is replaced."""
        logger.error("worker %d: %s: %s; replacing it", worker, reason, cause)
        with self._lock:
            self._counts[reason] += 1
            self._restarts.append(Restart(worker, reason, cause, time.monotonic()))
        self._on_event()

    def dump(self, worker: int, pid: int, reason: RestartReason, cause: str, text: str | None) -> None:
        """Keep where a lost worker stood."""
        if not text:
            return
        logger.error("worker %d (process %d) stood here:\n%s", worker, pid, text)
        with self._lock:
            self._dumps.append(StackDump(next(self._ids), worker, pid, reason, cause, text))
        self._on_event()

    def event(self) -> None:
        """Something else has changed."""
        self._on_event()

    @property
    def counts(self) -> Mapping[RestartReason, int]:
        """Restarts by reason; every reason is there."""
        with self._lock:
            return {reason: self._counts[reason] for reason in RESTART_REASONS}

    @property
    def restarts(self) -> tuple[Restart, ...]:
        """The last restarts, oldest first."""
        with self._lock:
            return tuple(self._restarts)

    @property
    def dumps(self) -> tuple[StackDump, ...]:
        """The last stack dumps, oldest first."""
        with self._lock:
            return tuple(self._dumps)
