"""HTTP/1.1 for uvicorn, with limits on open connections and on the time of a request's head. Needs uvicorn."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from ccmusic.health.clock import CLOCK
from ccmusic.health.connections import OpenConnections, Phase

ACCEPTED_AT_ONCE = 16
"""For `uvicorn.Config(backlog=...)`: asyncio accepts so many connections before any of them can be counted."""

REGULAR_ANSWERS = 2
"""A connection with so many answers is in regular use: the ones of a client that only opens them are closed before."""


def limited_protocol(
    connections: OpenConnections, head_seconds: float, *, access_log: bool = True
) -> type[H11Protocol]:
    """The protocol class of one server, for `uvicorn.Config(http=...)`.

    Parameters
    ----------
    connections : OpenConnections
        Each connection is added to it.
    head_seconds : float
        A client whose request line and headers do not arrive within this time is disconnected.
    access_log : bool
        Whether its requests are written to the log of accesses, if there is one. uvicorn's own setting of this name
        would end that log for every server of the process.
    """

    class LimitedProtocol(H11Protocol):
        _answers = 0

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.access_log = self.access_log and access_log

        @property
        def phase(self) -> Phase:
            """What the connection waits for."""
            cycle = self.cycle
            if cycle is not None and not cycle.response_complete and self.transport.get_write_buffer_size() == 0:
                if cycle.response_started:
                    return Phase.STREAM
                if not cycle.more_body:
                    return Phase.WORK
            return Phase.CLIENT if self._answers >= REGULAR_ANSWERS else Phase.FIRST

        def abort(self) -> None:
            """Close the connection at once."""
            self.transport.abort()

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._start_timer()
            connections.add(self)

        def data_received(self, data: bytes) -> None:
            connections.touch(self)
            super().data_received(data)
            self._await_head()

        def on_response_complete(self) -> None:
            self._answers += 1
            connections.touch(self)
            super().on_response_complete()
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            connections.discard(self)
            self._head_timer.cancel()
            super().connection_lost(exc)

        def _await_head(self) -> None:
            """Time the next head from its first byte. Between two requests, uvicorn's own timeout applies."""
            in_progress = self.cycle is not None and not self.cycle.response_complete
            if in_progress or not self.conn.trailing_data[0]:
                self._head_timer.cancel()
            elif self._head_timer.cancelled():
                self._start_timer()

        def _start_timer(self) -> None:
            self._head_deadline = CLOCK.now() + head_seconds
            self._head_timer = self.loop.call_later(head_seconds, self._disconnect)

        def _disconnect(self) -> None:
            self._head_timer.cancel()
            left = self._head_deadline - CLOCK.now()
            if left > 0:  # this process was stopped for a part of the time
                self._head_timer = self.loop.call_later(left, self._disconnect)
            elif not self.transport.is_closing():
                self.transport.close()

    return LimitedProtocol
