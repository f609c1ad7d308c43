"""Recordings that end workers: after the second death, a recording is refused for a while."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from pathlib import Path

from ccmusic.health.clock import CLOCK
from ccmusic.models.store import file_sha256

DEATHS = 2
MAX_ENTRIES = 10_000


def digest_of(source: bytes | Path) -> str:
    """SHA-256 of a recording's bytes."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    return file_sha256(source)


class Quarantine:
    """Counts the workers that ended while they had a recording.

    Parameters
    ----------
    seconds : float
        How long a death counts, and how long a recording is refused.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._deaths: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        """Number of recordings that are refused now."""
        with self._lock:
            self._forget()
            return sum(count >= DEATHS for count, _ in self._deaths.values())

    def record_death(self, digest: str) -> bool:
        """Record that a worker ended while it had this recording; returns whether the recording is refused now."""
        with self._lock:
            self._forget()
            count = self._deaths.pop(digest, (0, 0.0))[0] + 1
            self._deaths[digest] = (count, CLOCK.now())
            while len(self._deaths) > MAX_ENTRIES:
                self._deaths.popitem(last=False)
            return count >= DEATHS

    def block(self, digest: str) -> None:
        """Refuse this recording from now on."""
        for _ in range(DEATHS):
            self.record_death(digest)

    def clear(self, digest: str) -> None:
        """Forget the deaths: a worker has processed this recording and still runs."""
        with self._lock:
            self._deaths.pop(digest, None)

    def blocks(self, source: bytes | Path) -> bool:
        """Whether this recording is refused."""
        with self._lock:
            self._forget()
            if not self._deaths:
                return False  # the usual case: nothing needs to be hashed
        digest = digest_of(source)
        with self._lock:
            return self._deaths.get(digest, (0, 0.0))[0] >= DEATHS

    def _forget(self) -> None:
        horizon = CLOCK.now() - self._seconds
        while self._deaths and next(iter(self._deaths.values()))[1] < horizon:
            self._deaths.popitem(last=False)
