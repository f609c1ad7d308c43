"""Whose turn it is: the clients share the workers, so that none waits behind all recordings of another."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Protocol

from ccmusic.health.clock import CLOCK
from ccmusic.workers.channel import Job

RECENT_SECONDS = 60.0
"""A client that was here within this time finds a free worker, whatever one other client sends."""
MAX_ENTRIES = 10_000
NEVER = 0, float("-inf")


class Waiting(Protocol):
    """What is needed of a ticket of the queue."""

    job: Job
    accepted_at: float


class Turns:
    """The last turn of each client, and the tickets that run. Not thread-safe: it belongs to the lock of a queue."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._last: dict[str, tuple[int, float]] = {}  # by client: number and time of its last turn, the oldest first
        self._running: set[Waiting] = set()

    def begin(self, ticket: Waiting) -> None:
        """A worker gets this ticket."""
        client = ticket.job.client
        self._running.add(ticket)
        self._last.pop(client, None)
        self._last[client] = next(self._numbers), CLOCK.now()
        while len(self._last) > MAX_ENTRIES:
            del self._last[next(iter(self._last))]

    def end(self, ticket: Waiting) -> None:
        """The ticket does not run any more."""
        self._running.discard(ticket)

    def order(self, client: str) -> tuple[int, int]:
        """The client with the lowest is next: it has the fewest running tickets, and has waited longest for a turn."""
        return self._n_running(client), self._last.get(client, NEVER)[0]

    def may_begin(self, client: str, *, others_free: bool) -> bool:
        """Whether this client may have a worker. One that has another leaves the last free one to other clients."""
        if others_free or not self._n_running(client):
            return True
        recent = CLOCK.now() - RECENT_SECONDS
        return not any(other != client and at > recent for other, (_, at) in reversed(self._last.items()))

    def waits_since(self, ticket: Waiting) -> float:
        """When it was accepted, or when its client last had a turn, on the clock of this process."""
        return max(ticket.accepted_at, self._last.get(ticket.job.client, NEVER)[1])

    def _n_running(self, client: str) -> int:
        return sum(ticket.job.client == client for ticket in self._running)


def n_before(client: str, waiting: Counter[str]) -> int:
    """How many tickets get a worker before a new one of this client, if all clients take turns.

    Parameters
    ----------
    client : str
    waiting : Counter of str
        The number of waiting tickets by client.
    """
    own = waiting[client]
    return own + sum(min(count, own + 1) for other, count in waiting.items() if other != client)
