"""How many connections a server keeps open, and which of them it closes to make room for another.

A probe needs a connection of its own. So a client must not be able to hold so many that the next one is not accepted:
at the limit, one that has been idle for the longest time is closed, and the new one is kept. It is one of a client that
holds many, so that a client with few keeps them.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
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
TRIM_SECONDS = 1.0
"""Each time, `CLOSED_AT_ONCE` connections of a client beyond its limit are closed: new ones cost more than old ones."""
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
    def client_name(self) -> str:
        """Who opened it; see `ccmusic.health.addresses.client_name`."""

    @property
    def phase(self) -> Phase:
        """What it waits for."""

    @property
    def has_unread(self) -> bool:
        """Whether its client has sent something that was not read yet."""

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
    limit_of : callable, optional
        Given the name of a client, returns how many connections it may have open; None for a client without a limit of
        its own, such as a proxy of many.
    """

    def __init__(
        self,
        limit: Callable[[int], int],
        on_closed: Callable[[int], None] = lambda _: None,
        limit_of: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        self._limit = limit
        self._limit_of = limit_of
        self._on_closed = on_closed
        self._open: OrderedDict[Connection, None] = OrderedDict()  # the one with the oldest activity first
        self._counts: Counter[str] = Counter()  # by client
        self._over: dict[str, int] = {}  # clients with more than their limit, and that
        self._trimmed_at = float("-inf")

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection) -> None:
        """Add a new connection. If there are too many now, others are closed."""
        client = connection.client_name
        self._open[connection] = None
        self._counts[client] += 1
        most = self._limit_of(client)
        if most is not None and self._counts[client] > most:
            self._over[client] = most
        if self._over and CLOCK.now() - self._trimmed_at >= TRIM_SECONDS:
            self._trim(newest=connection)
        if len(self._open) > self._limit(len(self._open)):
            self.make_room(newest=connection)

    def touch(self, connection: Connection) -> None:
        """The client has sent something, or has got its answer."""
        if connection in self._open:
            self._open.move_to_end(connection)

    def discard(self, connection: Connection) -> None:
        """The connection is closed."""
        if connection in self._open:
            del self._open[connection]
            self._counts[connection.client_name] -= 1
            if not self._counts[connection.client_name]:
                del self._counts[connection.client_name]

    def make_room(self, newest: Connection | None = None) -> int:
        """Close some connections, but never `newest`; returns how many.

        They are of the clients that hold the most, or at least half as many. Only if these have none to close, they are
        of any client.
        """
        others = [each for each in self._open if each is not newest]
        many = max(self._counts.values(), default=0) / 2
        return self._close([each for each in others if self._counts[each.client_name] > many]) or self._close(others)

    def _trim(self, newest: Connection) -> None:
        """Close some of what clients have beyond their limits. Not all at once: they may open each of them again."""
        self._trimmed_at = CLOCK.now()
        over, self._over = self._over, {}
        for client, most in over.items():
            excess = self._counts[client] - most
            if excess > 0:
                own = [each for each in self._open if each.client_name == client and each is not newest]
                self._close(own, min(excess, CLOSED_AT_ONCE))
            if excess > CLOSED_AT_ONCE:
                self._over[client] = most

    def _close(self, candidates: list[Connection], most: int = CLOSED_AT_ONCE) -> int:
        """Close some of these connections, in the order of their activity; returns how many.

        First those that had hardly a request, then those in regular use that wait for their client, then streams; of
        each, the ones without activity for the longest time. A request that has arrived and was not read yet, because
        many others arrived with it, is activity too.
        """
        phases = [(each, each.phase) for each in candidates]
        first, again, streams = (
            [each for each, phase in phases if phase is wanted] for wanted in (Phase.FIRST, Phase.CLIENT, Phase.STREAM)
        )
        closing = _read_first(first[:-NEWEST] or again[:-NEWEST] or streams or first + again)[:most]
        for connection in closing:
            self.discard(connection)
            connection.abort()
        if closing:
            self._on_closed(len(closing))
        return len(closing)


def _read_first(connections: list[Connection]) -> list[Connection]:
    """Those of which everything was read; all if there are none."""
    return [each for each in connections if not each.has_unread] or connections


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
