"""The line before the workers of one pool: bounded in age, first come first served, left by callers who hang up."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

from ccmusic.errors import Overloaded
from ccmusic.inference.result import TrackResult
from ccmusic.workers.channel import Job


@dataclass(slots=True, eq=False)
class Ticket:
    """One accepted job; times are on the monotonic clock.

    Attributes
    ----------
    deadline : float
        After this moment nobody waits for the answer.
    blamed : str or None
        The recording's digest, once a worker has ended over it.
    losses : int
        Workers that ended with it in hand, whoever was to blame.
    begun : bool
        Whether a worker had it already: then its caller can no longer take it back.
    """

    job: Job
    future: Future[TrackResult]
    accepted_at: float
    deadline: float
    blamed: str | None = None
    losses: int = 0
    begun: bool = False

    def begin(self) -> bool:
        """Take the job up; False when its caller has gone."""
        if not self.begun:
            self.begun = self.future.set_running_or_notify_cancel()
        return self.begun

    def fail(self, error: Exception) -> None:
        """Answer with an error, if somebody still waits."""
        if self.begin():
            self.future.set_exception(error)


class Wakeup:
    """Wakes one keeper that waits on file descriptors."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    @property
    def descriptor(self) -> int:
        """For `multiprocessing.connection.wait`."""
        return self._read

    def ring(self) -> None:
        """Wake; a bell that has rung already stays so."""
        with suppress(BlockingIOError, OSError):
            os.write(self._write, b"!")

    def quiet(self) -> None:
        """Be ready for the next ring."""
        with suppress(BlockingIOError):
            while os.read(self._read, 64):
                pass

    def close(self) -> None:
        """Let go of the descriptors."""
        os.close(self._read)
        os.close(self._write)


@dataclass(slots=True)
class JobQueue:
    """Tickets that wait, and the bells of the keepers that have nothing to do.

    Parameters
    ----------
    max_wait_seconds : float
        A ticket that has waited for so long is answered with `Overloaded`.
    """

    max_wait_seconds: float
    dropped_at: float = float("-inf")
    """When a ticket last grew too old."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _waiting: deque[Ticket] = field(default_factory=deque)
    _idle: list[Wakeup] = field(default_factory=list)

    def put(self, ticket: Ticket, *, first: bool = False) -> None:
        """Let a ticket wait, and wake a keeper for it; `first` for one that has been begun before."""
        with self._lock:
            if first:
                self._waiting.appendleft(ticket)
            else:
                self._waiting.append(ticket)
            if self._idle:
                self._idle.pop().ring()

    def take(self, bell: Wakeup) -> Ticket | None:
        """The next ticket that somebody waits for; when there is none, the bell will ring at the next."""
        with self._lock:
            if bell in self._idle:
                self._idle.remove(bell)
            while self._waiting:
                ticket = self._waiting.popleft()
                if ticket.begin():
                    return ticket
            self._idle.append(bell)
            return None

    def leave(self, bell: Wakeup) -> None:
        """The bell's keeper has something else to do; a ring that it may have missed goes to another."""
        with self._lock:
            if bell in self._idle:
                self._idle.remove(bell)
            elif self._waiting and self._idle:
                self._idle.pop().ring()

    def empty(self) -> list[Ticket]:
        """Take every ticket out, oldest first."""
        with self._lock:
            tickets = list(self._waiting)
            self._waiting.clear()
        return tickets

    def expire(self) -> None:
        """Let go of callers who have left, and answer those who have waited for too long."""
        now = time.monotonic()
        with self._lock:
            if not self._waiting:
                return
            kept: deque[Ticket] = deque()
            late = []
            for ticket in self._waiting:
                if ticket.future.cancelled():
                    ticket.begin()  # tells its waiters
                elif now >= min(ticket.accepted_at + self.max_wait_seconds, ticket.deadline):
                    late.append(ticket)
                else:
                    kept.append(ticket)
            self._waiting = kept
        for ticket in late:
            self.dropped_at = now
            waited = now - ticket.accepted_at
            ticket.fail(Overloaded(f"no worker was free for {waited:.0f} seconds", self.max_wait_seconds / 2))

    @property
    def n_waiting(self) -> int:
        """How many wait."""
        with self._lock:
            return len(self._waiting)

    @property
    def oldest_wait_seconds(self) -> float:
        """How long the oldest of them has waited; 0 when none does."""
        with self._lock:
            if not self._waiting:
                return 0.0
            return max(0.0, time.monotonic() - min(ticket.accepted_at for ticket in self._waiting))
