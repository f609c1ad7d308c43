"""The queue of one pool: jobs wait in the order of their arrival, and expire if they wait too long."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from ccmusic.errors import Overloaded
from ccmusic.health.clock import CLOCK
from ccmusic.inference.result import TrackResult
from ccmusic.workers.channel import Job
from ccmusic.workers.wakeup import Wakeup

DROPPED_RECENTLY_SECONDS = 2.0


@dataclass(slots=True, eq=False)
class Ticket:
    """One accepted job; times are on the clock of this process.

    Attributes
    ----------
    deadline : float
        The caller does not wait longer than this.
    suspect_digest : str or None
        The recording's digest, once a worker has ended during this job.
    losses : int
        Workers that ended during this job, for any reason.
    begun : bool
        Whether a worker has received it; then its caller can no longer cancel it.
    """

    job: Job
    future: Future[TrackResult]
    accepted_at: float
    deadline: float
    suspect_digest: str | None = None
    losses: int = 0
    begun: bool = False

    def begin(self) -> bool:
        """Mark the job as begun; False if its caller has cancelled it."""
        if not self.begun:
            self.begun = self.future.set_running_or_notify_cancel()
        return self.begun

    def fail(self, error: Exception) -> None:
        """Answer with an error, unless the caller has cancelled the job."""
        if self.begin():
            self.future.set_exception(error)


@dataclass(slots=True)
class JobQueue:
    """Waiting tickets, and the wakeups of the worker slots that wait for a ticket.

    Parameters
    ----------
    max_wait_seconds : float
        A ticket that has waited longer is answered with `Overloaded`.
    """

    max_wait_seconds: float
    _dropped_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _waiting: deque[Ticket] = field(default_factory=deque)
    _idle: list[Wakeup] = field(default_factory=list)

    def put(self, ticket: Ticket, *, first: bool = False) -> None:
        """Add a ticket and wake a slot for it; `first` for a ticket that a lost worker had begun."""
        with self._lock:
            if first:
                self._waiting.appendleft(ticket)
            else:
                self._waiting.append(ticket)
            if self._idle:
                self._idle.pop().wake()

    def take(self, wakeup: Wakeup) -> Ticket | None:
        """The next ticket that is not cancelled. If there is none, `wakeup` is woken when the next ticket arrives."""
        with self._lock:
            if wakeup in self._idle:
                self._idle.remove(wakeup)
            while self._waiting:
                ticket = self._waiting.popleft()
                if ticket.begin():
                    return ticket
            self._idle.append(wakeup)
            return None

    def leave(self, wakeup: Wakeup) -> None:
        """The slot does not wait any more; if it was woken and cannot take the ticket, another slot is woken."""
        with self._lock:
            if wakeup in self._idle:
                self._idle.remove(wakeup)
            elif self._waiting and self._idle:
                self._idle.pop().wake()

    def empty(self) -> list[Ticket]:
        """Remove all tickets; returns them, oldest first."""
        with self._lock:
            tickets = list(self._waiting)
            self._waiting.clear()
        return tickets

    def expire(self) -> None:
        """Remove cancelled tickets, and answer those that have waited too long."""
        now = CLOCK.now()
        with self._lock:
            if not self._waiting:
                return
            kept: deque[Ticket] = deque()
            late = []
            for ticket in self._waiting:
                if ticket.future.cancelled():
                    ticket.begin()  # notifies those who wait for the future
                elif now >= min(ticket.accepted_at + self.max_wait_seconds, ticket.deadline):
                    late.append(ticket)
                else:
                    kept.append(ticket)
            self._waiting = kept
        for ticket in late:
            self._dropped_at = now
            waited = now - ticket.accepted_at
            ticket.fail(Overloaded(f"no worker was free for {waited:.0f} seconds", self.max_wait_seconds / 2))

    def waiting(self) -> tuple[int, float]:
        """Number of waiting tickets, and how long the oldest has waited in seconds (0 if none waits)."""
        with self._lock:
            if not self._waiting:
                return 0, 0.0
            oldest = min(ticket.accepted_at for ticket in self._waiting)
            return len(self._waiting), max(0.0, CLOCK.now() - oldest)

    @property
    def overdue(self) -> bool:
        """Whether a ticket has waited too long, or was dropped for that reason in the last seconds."""
        dropped = CLOCK.now() - self._dropped_at < DROPPED_RECENTLY_SECONDS
        return dropped or self.waiting()[1] > self.max_wait_seconds
