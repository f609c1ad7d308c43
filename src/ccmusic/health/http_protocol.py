"""HTTP/1.1 for uvicorn, with limits on open connections, on the time of a request's head, and for clients that do not
read their answers. Needs uvicorn.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from contextlib import suppress
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ccmusic.health.addresses import client_name
from ccmusic.health.clock import CLOCK
from ccmusic.health.connections import OpenConnections, Phase

ACCEPTED_AT_ONCE = 16
"""For `uvicorn.Config(backlog=...)`: asyncio accepts so many connections before any of them can be counted."""

READ_BYTES = 16 * 1024
"""So much is read from a connection in one turn of the event loop: asyncio's own 256 KiB can hold 40,000 chunks of one
byte, whose parsing takes a second."""

HEAD_BYTES = 64 * 1024
"""For `uvicorn.Config(h11_max_incomplete_event_size=...)`: longest request line with its headers."""
CHUNK_BYTES = 32
"""Chunks that are smaller on average cost more than what they hold."""
SMALL_CHUNKS_BYTES = 64 * 1024
"""A connection that has sent so much in such chunks is closed: a minute of parsing would slow down every other one."""

REGULAR_ANSWERS = 2
"""A connection with so many answers is in regular use: the ones of a client that only opens them are closed before."""

LEAST_BYTES_PER_SECOND = 1024
"""A client that reads slower than this does not read."""
SEND_SECONDS = 30.0

SAFE_HEADERS: tuple[tuple[str, str], ...] = (
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)
"""Headers for answers that are data: a browser runs nothing in them and shows them in no other site's page."""


class _TimedTransport:
    """A transport that is aborted if its client does not read.

    It passes everything else to the transport of asyncio.

    Parameters
    ----------
    transport : asyncio.Transport
    loop : asyncio.AbstractEventLoop
    seconds : float
        While an answer waits to be sent, the client must read `LEAST_BYTES_PER_SECOND` in each period of this length.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._transport = transport
        self._loop = loop
        self._seconds = seconds
        self._socket = transport.get_extra_info("socket")
        self._written = 0
        self._read_before = 0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, or keep what cannot be sent yet."""
        self._written += len(data)
        self._transport.write(data)
        if self._timer is None and self._transport.get_write_buffer_size():
            self._start()

    def end(self) -> None:
        """The connection is closed."""
        if self._timer is not None:
            self._timer.cancel()

    def _read(self) -> int:
        """Bytes that have reached the client's machine."""
        waiting = self._transport.get_write_buffer_size() + _queued_bytes(self._socket, termios.TIOCOUTQ)
        return self._written - waiting

    def _start(self) -> None:
        self._read_before = self._read()
        self._deadline = CLOCK.now() + self._seconds
        self._timer = self._loop.call_later(self._seconds, self._check)

    def _check(self) -> None:
        self._timer = None
        left = self._deadline - CLOCK.now()
        if not self._transport.get_write_buffer_size():
            return
        if left > 0:  # this process was stopped for a part of the time
            self._timer = self._loop.call_later(left, self._check)
        elif self._read() - self._read_before < LEAST_BYTES_PER_SECOND * self._seconds:
            self._transport.abort()
        else:
            self._start()


def _queued_bytes(of_socket: Any, request: int) -> int:
    """What the kernel of this machine keeps for a socket: to be read (FIONREAD) or to be sent (TIOCOUTQ)."""
    with suppress(OSError, ValueError):  # it is closed
        return int.from_bytes(fcntl.ioctl(of_socket, request, bytes(4)), sys.byteorder)
    return 0


def limited_protocol(
    connections: OpenConnections,
    head_seconds: float,
    *,
    send_seconds: float = SEND_SECONDS,
    access_log: bool = True,
) -> type[H11Protocol]:
    """The protocol class of one server, for `uvicorn.Config(http=...)`.

    Parameters
    ----------
    connections : OpenConnections
        Each connection is added to it.
    head_seconds : float
        A client whose request line and headers do not arrive within this time is disconnected.
    send_seconds : float
        A client that does not read its answer for this time is disconnected.
    access_log : bool
        Whether its requests are written to the log of accesses, if there is one. uvicorn's own setting of this name
        would end that log for every server of the process.
    """

    class LimitedProtocol(H11Protocol):
        _answers = 0
        client_name = ""
        _in_small_chunks = 0

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

        @property
        def has_unread(self) -> bool:
            """Whether the client has sent something that was not read yet."""
            return _queued_bytes(self.transport.get_extra_info("socket"), termios.FIONREAD) > 0

        def abort(self) -> None:
            """Close the connection at once."""
            self.transport.abort()

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            self._timed = _TimedTransport(transport, self.loop, send_seconds)
            transport.max_size = READ_BYTES  # type: ignore[attr-defined]
            super().connection_made(self._timed)  # type: ignore[arg-type]
            self.client_name = client_name(self.client[0]) if self.client else ""
            self._start_timer()
            connections.add(self)

        def data_received(self, data: bytes) -> None:
            connections.touch(self)
            if self._is_chunked() and data.count(b"\r\n") * CHUNK_BYTES > 2 * len(data):  # two of them end a chunk
                self._in_small_chunks += len(data)
                if self._in_small_chunks > SMALL_CHUNKS_BYTES and not self.transport.is_closing():
                    self._refuse_chunks()
                    return
            super().data_received(data)
            self._await_head()

        def _is_chunked(self) -> bool:
            return self.conn.their_state is h11.SEND_BODY and any(
                name == b"transfer-encoding" for name, _ in self.headers or ()
            )

        def _refuse_chunks(self) -> None:
            if self.conn.our_state is h11.SEND_RESPONSE:
                self.send_400_response("The chunks of the request are too small.")
            else:
                self.transport.close()

        def on_response_complete(self) -> None:
            self._answers += 1
            connections.touch(self)
            super().on_response_complete()
            self._await_head()

        def send_400_response(self, msg: str) -> None:
            """Answer what is no HTTP. It has the headers of every other answer, but reaches no application."""
            cycle = self.cycle
            if cycle is None or cycle.response_complete or not cycle.response_started:
                self.transport.write(_BAD_REQUEST % (len(msg), msg.encode("ascii")))
            self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            connections.discard(self)
            self._head_timer.cancel()
            self._timed.end()
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


_BAD_REQUEST = (
    "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n"
    + "".join(f"{name}: {value}\r\n" for name, value in SAFE_HEADERS)
).encode("ascii") + b"content-length: %d\r\n\r\n%b"
