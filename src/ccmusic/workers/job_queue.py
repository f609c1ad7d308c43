"""The queue of one pool: clients take turns, the jobs of each in the order of their arrival, and old jobs expire."""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from ccmusic.errors import Overloaded, TooManyRequests
from ccmusic.health.clock import CLOCK
from ccmusic.inference.result import TrackResult
from ccmusic.workers.channel import Job
from ccmusic.workers.turns import Turns, n_before
from ccmusic.workers.wakeup import Wakeup

DROPPED_RECENTLY_SECONDS = 2.0
PAUSED = "recordings of this client have ended workers again and again; the next one is accepted after a pause"


class Suspects(Protocol):
    """What the queue asks about clients; see `ccmusic.workers.suspects.SuspectClients`."""

    def __contains__(self, client: object) -> bool: ...

    def pause_seconds(self, client: str) -> float: ...


class NoSuspects:
    """No client is a suspect."""

    def __contains__(self, client: object) -> bool:
        return False

    def pause_seconds(self, client: str) -> float:
        """Never a pause."""
        return 0.0


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
    is_suspected : bool
        Whether its recording has probably ended a worker.
    number : int
        Names this job in a `Restart`.
    """

    job: Job
    future: Future[TrackResult]
    accepted_at: float
    deadline: float
    suspect_digest: str | None = None
    losses: int = 0
    begun: bool = False
    is_suspected: bool = False
    number: int = field(default_factory=itertools.count(1).__next__)

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

    A ticket that may end its worker is risky: one that has probably done so, or one of a suspect client. At most one of
    these runs at a time, and only while another worker can answer. Those of suspect clients come after all others.
    Among the others, the clients take turns (`Turns`).

    Parameters
    ----------
    max_wait_seconds : float
        A ticket that has waited longer is answered with `Overloaded`.
    suspects : Suspects
        The clients whose tickets are risky.
    """

    max_wait_seconds: float
    suspects: Suspects = field(default_factory=NoSuspects)
    _risky: Ticket | None = None
    _dropped_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _waiting: deque[Ticket] = field(default_factory=deque)
    _idle: list[Wakeup] = field(default_factory=list)
    _turns: Turns = field(default_factory=Turns)

    def put(self, ticket: Ticket, *, first: bool = False) -> None:
        """Add a ticket and wake a slot for it; `first` for a ticket that a lost worker had begun."""
        with self._lock:
            if ticket is self._risky:
                self._risky = None
            self._turns.end(ticket)
            if first:
                self._waiting.appendleft(ticket)
            else:
                self._waiting.append(ticket)
            if self._idle:
                self._idle.pop().wake()

    def take(self, wakeup: Wakeup, *, may_be_lost: bool = True) -> Ticket | None:
        """The next ticket that is not cancelled. If there is none, `wakeup` is woken when the next ticket arrives.

        Parameters
        ----------
        wakeup : Wakeup
        may_be_lost : bool
            Whether the worker may be given a risky ticket.
        """
        with self._lock:
            if wakeup in self._idle:
                self._idle.remove(wakeup)
            while (ticket := self._next(may_be_lost and self._risky is None)) is not None:
                self._waiting.remove(ticket)
                if ticket.begin():
                    self._turns.begin(ticket)
                    if ticket.is_suspected or self._of_suspect(ticket):
                        self._risky = ticket
                    return ticket
            self._idle.append(wakeup)
            return None

    def _next(self, take_risky: bool) -> Ticket | None:
        chosen = of_suspect = None
        others: set[str] = set()  # clients of whom an older ticket was considered
        for ticket in self._waiting:
            client = ticket.job.client
            if client in others:
                continue
            if self._of_suspect(ticket):
                if not self.suspects.pause_seconds(client):
                    of_suspect = of_suspect or ticket
            elif take_risky or not ticket.is_suspected:
                if ticket.begun:  # an earlier worker was lost
                    return ticket
                others.add(client)
                if self._turns.may_begin(client, others_free=bool(self._idle)) and (
                    chosen is None or self._turns.order(client) < self._turns.order(chosen.job.client)
                ):
                    chosen = ticket
        return chosen or (of_suspect if take_risky else None)

    def _of_suspect(self, ticket: Ticket) -> bool:
        return ticket.job.client in self.suspects

    def end(self, ticket: Ticket) -> None:
        """The ticket has been answered, so that the next risky one may run."""
        with self._lock:
            self._turns.end(ticket)
            was_risky, self._risky = ticket is self._risky, None if ticket is self._risky else self._risky
            if was_risky and self._waiting and self._idle:
                self._idle.pop().wake()

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
            late, paused = [], []
            for ticket in self._waiting:
                if ticket.future.cancelled():
                    ticket.begin()  # notifies those who wait for the future
                elif now >= min(ticket.accepted_at + self.max_wait_seconds, ticket.deadline):
                    late.append(ticket)
                elif pause := self.suspects.pause_seconds(ticket.job.client):
                    paused.append((ticket, pause))
                else:
                    kept.append(ticket)
            self._waiting = kept
            if any(not self._of_suspect(t) and self._turns.waits_since(t) == t.accepted_at for t in late):
                self._dropped_at = now
        for ticket, pause in paused:
            ticket.fail(TooManyRequests(PAUSED, pause))
        for ticket in late:
            waited = now - ticket.accepted_at
            ticket.fail(Overloaded(f"no worker was free for {waited:.0f} seconds", self.max_wait_seconds / 2))

    def waiting(self) -> tuple[int, float]:
        """Number of waiting tickets, and how long the oldest has waited in seconds (0 if none waits)."""
        with self._lock:
            if not self._waiting:
                return 0, 0.0
            oldest = min(ticket.accepted_at for ticket in self._waiting)
            return len(self._waiting), max(0.0, CLOCK.now() - oldest)

    def by_suspects(self) -> int:
        """Number of waiting tickets of suspect clients."""
        with self._lock:
            return sum(self._of_suspect(ticket) for ticket in self._waiting)

    def n_before(self, client: str) -> int:
        """How many waiting tickets get a worker before a new one of this client; those of suspects come later."""
        with self._lock:
            return n_before(client, Counter(t.job.client for t in self._waiting if not self._of_suspect(t)))

    def displace(self, client: str) -> Ticket | None:
        """Remove a ticket to make room for one of this client: the newest of the client that has the most waiting.

        Returns
        -------
        Ticket or None
            The caller must fail it. None if no client has more waiting than this one would have.
        """
        with self._lock:
            counts = Counter(ticket.job.client for ticket in self._waiting if not ticket.begun)
            heaviest = max(counts, key=counts.__getitem__, default=client)
            if counts[heaviest] <= counts[client] + 1:
                return None
            newest = next(t for t in reversed(self._waiting) if t.job.client == heaviest and not t.begun)
            self._waiting.remove(newest)
            return newest

    @property
    def overdue(self) -> bool:
        """Whether a ticket has waited too long, or was dropped for that reason in the last seconds.

        The tickets of suspect clients do not count: they wait although workers are free. Nor does the time before the
        last turn of a client: it has only sent more than its share.
        """
        now = CLOCK.now()
        with self._lock:
            times = [self._turns.waits_since(ticket) for ticket in self._waiting if not self._of_suspect(ticket)]
        dropped = now - self._dropped_at < DROPPED_RECENTLY_SECONDS
        return dropped or now - min(times, default=now) > self.max_wait_seconds
