"""How many connections a server keeps open, and which of them it closes to make room for another.

A probe needs a connection of its own. So a client must not be able to hold so many that the next one is not accepted:
at the limit, the connection that has been idle for the longest time is closed, and the new one is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from ccmusic.health.clock import CLOCK
from ccmusic.health.system import descriptor_use

CLOSED_AT_ONCE = 16
"""Connections closed together, so that a flood of new ones does not have to search for each."""
DESCRIPTOR_SHARE = 0.75
"""Share of the descriptor limit that connections may fill: below the share at which `descriptor_check` warns."""
LEAST_CONNECTIONS = 8
"""Kept open also if something else has used up the descriptors."""
RECOUNT_SECONDS = 1.0
NEWEST = 16
"""Connections with the latest activity are closed last: the request of a probe may be just arriving."""


class Phase(Enum):
    """What a connection waits for."""

    FIRST = "first"
    """One of its first requests, or the rest of one, or that the client reads the answer."""
    CLIENT = "client"
    """The same, of a connection in regular use."""
    STREAM = "stream"
    """The next piece of an answer that has begun, such as an event stream."""
    WORK = "work"
    """The answer to a complete request. Such a connection is never closed to make room."""


class Connection(Protocol):
    """One connection of a server."""

    @property
    def phase(self) -> Phase:
        """What it waits for."""

    def abort(self) -> None:
        """Close it at once, without sending what is left."""


class OpenConnections:
    """The open connections of one server. Belongs to its event loop; only the length may be read by other threads.

    Parameters
    ----------
    limit : callable
        Given the number of open connections, returns how many may be open.
    on_closed : callable, optional
        Called with the number of connections that were just closed to make room.
    """

    def __init__(self, limit: Callable[[int], int], on_closed: Callable[[int], None] = lambda _: None) -> None:
        self._limit = limit
        self._on_closed = on_closed
        self._open: OrderedDict[Connection, None] = OrderedDict()  # the one with the oldest activity first

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection) -> None:
        """Add a new connection. If there are too many now, others are closed."""
        self._open[connection] = None
        if len(self._open) > self._limit(len(self._open)):
            self.make_room(newest=connection)

    def touch(self, connection: Connection) -> None:
        """The client has sent something, or has got its answer."""
        if connection in self._open:
            self._open.move_to_end(connection)

    def discard(self, connection: Connection) -> None:
        """The connection is closed."""
        self._open.pop(connection, None)

    def make_room(self, newest: Connection | None = None) -> int:
        """Close some connections, but never `newest`; returns how many.

        First those that had hardly a request, then those in regular use that wait for their client, then streams; of
        each, the ones without activity for the longest time.
        """
        phases = [(each, each.phase) for each in self._open if each is not newest]
        first, again, streams = (
            [each for each, phase in phases if phase is wanted] for wanted in (Phase.FIRST, Phase.CLIENT, Phase.STREAM)
        )
        closing = (first[:-NEWEST] or again[:-NEWEST] or streams or first + again)[:CLOSED_AT_ONCE]
        for connection in closing:
            self.discard(connection)
            connection.abort()
        if closing:
            self._on_closed(len(closing))
        return len(closing)


def connection_limit(most: int) -> Callable[[int], int]:
    """The limit for `OpenConnections`: a number, and less if the descriptors of this process do not allow as many.

    Parameters
    ----------
    most : int
    """
    counted_at = float("-inf")
    allowed = most

    def limit(n_open: int) -> int:
        nonlocal counted_at, allowed
        now = CLOCK.now()
        if now - counted_at > RECOUNT_SECONDS:
            counted_at = now
            allowed = _allowed(most, n_open)
        return allowed

    return limit


def _allowed(most: int, n_open: int) -> int:
    try:
        use = descriptor_use()
    except OSError:  # no descriptor is left to count them with
        return min(most, max(LEAST_CONNECTIONS, n_open - CLOSED_AT_ONCE))
    count, descriptors = use or (0, None)
    if descriptors is None:
        return most
    return min(most, max(LEAST_CONNECTIONS, int(DESCRIPTOR_SHARE * descriptors) - (count - n_open)))
