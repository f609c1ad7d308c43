"""Tells recordings that end workers from a service whose workers end by themselves.

A worker that ends while it has a recording is at first put down to the recording. It is not the cause if it was
answered before, or if the next worker answers it: then the restart counts as one without a cause (`Restart.job`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from ccmusic.health.clock import CLOCK
from ccmusic.workers.job_queue import Ticket
from ccmusic.workers.quarantine import Quarantine, digest_of
from ccmusic.workers.records import RestartReason

MAX_ENTRIES = 10_000
"""Most recordings, and most clients, that are remembered."""
ANSWERS_PER_LOSS = 10
"""A client with so many answers for each recording that ended a worker is no suspect: it may be a proxy of many."""
MAX_DOUBLINGS = 30
BY_RECORDING: tuple[RestartReason, ...] = ("crashed", "heartbeat", "deadline", "out_of_memory", "bound", "malformed")
"""Restart reasons that a recording can cause. SIGKILL comes from outside, and NaN from the network."""


class KnownRecordings:
    """The last recordings that were answered, by digest. If one of them ends a worker, it is not the cause.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._digests: OrderedDict[str, None] = OrderedDict()

    def add(self, digest: str) -> None:
        """This recording has been answered."""
        with self._lock:
            self._digests[digest] = None
            self._digests.move_to_end(digest)
            while len(self._digests) > MAX_ENTRIES:
                self._digests.popitem(last=False)

    def __contains__(self, digest: object) -> bool:
        with self._lock:
            return digest in self._digests


@dataclass(slots=True)
class _Client:
    losses: dict[str, float] = field(default_factory=dict)  # by the digest of the recording: when it ended a worker
    answered: int = 0


class SuspectClients:
    """Clients of which several different recordings ended workers, and few were answered. Thread-safe.

    Parameters
    ----------
    recordings : int
        After so many recordings a client is a suspect.
    seconds : float
        How long a recording counts.
    pause_seconds : float
        If a suspect has lost more workers than it got answers, it must pause after each: so long after the first time,
        twice as long after the next, and at most `seconds`.
    """

    def __init__(self, recordings: int, seconds: float, pause_seconds: float = 0.0) -> None:
        self._recordings = recordings
        self._seconds = seconds
        self._pause_seconds = pause_seconds
        self._lock = threading.Lock()
        self._clients: OrderedDict[str, _Client] = OrderedDict()

    def __len__(self) -> int:
        """Number of suspect clients."""
        with self._lock:
            return sum(self._is_suspect(client) for client in self._clients.values())

    def __contains__(self, client: object) -> bool:
        with self._lock:
            found = self._clients.get(client) if isinstance(client, str) else None
            return found is not None and self._is_suspect(found)

    def pause_seconds(self, client: str) -> float:
        """How long the recordings of this client are still refused; 0 if they are not."""
        with self._lock:
            found = self._clients.get(client)
            if found is None or not self._is_suspect(found) or found.answered >= len(found.losses):
                return 0.0
            further = min(len(found.losses) - self._recordings, MAX_DOUBLINGS)
            if further <= 0:
                return 0.0
            pause = min(self._pause_seconds * 2.0 ** (further - 1), self._seconds)
            return max(0.0, next(reversed(found.losses.values())) + pause - CLOCK.now())

    def note_loss(self, client: str, digest: str) -> None:
        """A recording of this client has ended a worker."""
        with self._lock:
            found = self._clients.setdefault(client, _Client())
            self._clients.move_to_end(client)
            found.losses.pop(digest, None)
            found.losses[digest] = CLOCK.now()
            while len(found.losses) > MAX_ENTRIES:
                del found.losses[next(iter(found.losses))]
            while len(self._clients) > MAX_ENTRIES:
                self._clients.popitem(last=False)

    def clear(self, client: str, digest: str) -> None:
        """The recording was not the cause."""
        with self._lock:
            if (found := self._clients.get(client)) is not None:
                found.losses.pop(digest, None)
                if not found.losses:
                    del self._clients[client]

    def note_answer(self, client: str) -> None:
        """A recording of this client has been answered."""
        with self._lock:
            if (found := self._clients.get(client)) is not None:
                found.answered += 1

    def _is_suspect(self, client: _Client) -> bool:
        horizon = CLOCK.now() - self._seconds
        while client.losses and next(iter(client.losses.values())) < horizon:
            del client.losses[next(iter(client.losses))]
        n_lost = len(client.losses)
        return n_lost >= self._recordings and client.answered < ANSWERS_PER_LOSS * n_lost


class Culprits:
    """What is known about the recordings and the clients that workers were lost to. Shared by all models.

    Parameters
    ----------
    quarantine : Quarantine
    clients : SuspectClients

    Attributes
    ----------
    quarantine : Quarantine
        The recordings that are refused.
    clients : SuspectClients
        The clients whose recordings are tried one at a time.
    """

    def __init__(self, quarantine: Quarantine, clients: SuspectClients) -> None:
        self.quarantine = quarantine
        self.clients = clients
        self._known = KnownRecordings()

    def note_loss(self, ticket: Ticket, reason: RestartReason) -> bool:
        """A worker was lost during this job; returns whether the recording may be the cause.

        The recording's digest is kept in the ticket, so that a second loss is recognised.
        """
        digest = ticket.suspect_digest = _digest(ticket)
        ticket.is_suspected = reason in BY_RECORDING and digest not in self._known
        if ticket.is_suspected:
            self.clients.note_loss(ticket.job.client, digest)
        return ticket.is_suspected

    def clear(self, ticket: Ticket) -> None:
        """The recording of a job that had lost a worker is not the cause."""
        ticket.is_suspected = False
        if ticket.suspect_digest is not None:
            self.clients.clear(ticket.job.client, ticket.suspect_digest)

    def note_survival(self, ticket: Ticket) -> None:
        """A worker has processed a recording that an earlier worker was lost to, and still runs."""
        if ticket.suspect_digest is not None:
            self.quarantine.clear(ticket.suspect_digest)
            self.clear(ticket)

    def note_answer(self, ticket: Ticket) -> None:
        """A recording has been answered."""
        self.clients.note_answer(ticket.job.client)
        if digest := ticket.suspect_digest or _digest(ticket):
            self._known.add(digest)


def _digest(ticket: Ticket) -> str:
    """The recording's digest; empty if its file is gone, so that it cannot come again."""
    try:
        return digest_of(ticket.job.source)
    except OSError:
        return ""
