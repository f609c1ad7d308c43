"""Restarts and stack dumps of the workers since the start: counts, and the last few events."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from ccmusic.health.clock import CLOCK
from ccmusic.process.log_lines import Lines
from ccmusic.workers.records import RESTART_REASONS, Restart, RestartReason, StackDump

logger = logging.getLogger(__name__)

KEPT_DUMPS = 10
KEPT_RESTARTS = 100


class RestartLog:
    """Thread-safe. It continues when another model takes over.

    Parameters
    ----------
    on_event : callable
        Called after each event that health must report at once.
    """

    def __init__(self, on_event: Callable[[], None]) -> None:
        self._on_event = on_event
        self._lock = threading.Lock()
        self._counts: Counter[RestartReason] = Counter()
        self._restarts: deque[Restart] = deque(maxlen=KEPT_RESTARTS)
        self._dumps: deque[StackDump] = deque(maxlen=KEPT_DUMPS)
        self._ids = itertools.count(1)

    def record_restart(
        self, worker: int, reason: RestartReason, cause: str, job: int | None = None, client: str = ""
    ) -> None:
        """Record that a worker is being replaced; `job` and `client` are those of `Restart`."""
        logger.error("worker %d: %s: %s; replacing it", worker, reason, cause)
        with self._lock:
            self._counts[reason] += 1
            self._restarts.append(Restart(worker, reason, cause, CLOCK.now(), job, client))
        self._on_event()

    def clear_job(self, job: int) -> None:
        """The recording of this job was not the cause of a restart, so that the restart counts as one without."""
        with self._lock:
            found = [restart for restart in self._restarts if restart.job == job]
            if not found:
                return
            self._restarts = deque(
                (replace(restart, job=None) if restart.job == job else restart for restart in self._restarts),
                maxlen=KEPT_RESTARTS,
            )
        self._on_event()

    def record_dump(self, worker: int, pid: int, reason: RestartReason, cause: str, text: str | None) -> None:
        """Keep the stack dump of a lost worker, if there is one."""
        if not text:
            return
        logger.error("worker %d (process %d): stack dump:\n%s", worker, pid, Lines(text))
        with self._lock:
            self._dumps.append(StackDump(next(self._ids), worker, pid, reason, cause, text))
        self._on_event()

    def notify(self) -> None:
        """Report that something else has changed."""
        self._on_event()

    def read(self) -> tuple[Mapping[RestartReason, int], tuple[Restart, ...], tuple[StackDump, ...]]:
        """Restarts by reason (with every reason), the last restarts and the last stack dumps (both oldest first)."""
        with self._lock:
            counts = {reason: self._counts[reason] for reason in RESTART_REASONS}
            return counts, tuple(self._restarts), tuple(self._dumps)
