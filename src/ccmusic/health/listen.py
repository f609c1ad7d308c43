"""A listening socket, bound before anything else is built, that can accept when no descriptor is left."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ccmusic.health.addresses import CannotListen, without_brackets

BACKLOG = 2048
"""Connections that the kernel keeps until they are accepted; the system may allow fewer."""
SEND_BUFFER_BYTES = 256 * 1024
"""What the kernel keeps of an answer that is not read; by default it is up to 4 MB for each connection. Linux doubles
it, for its own records."""
SPARE_DESCRIPTORS = 2
"""Held back for connections that arrive when no other descriptor is left."""
_TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)


class Listener(socket.socket):
    """A listening socket that holds back descriptors, so that probes are answered when no other descriptor is left.

    asyncio stops accepting for a second when there is none. This socket accepts with a spare descriptor instead, and
    takes a new spare one when it can.

    Attributes
    ----------
    make_room : callable
        Called when the spare ones are used up too; closes connections of this server, and returns how many.
    """

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._spare: list[int] = []
        self.make_room: Callable[[], int] = lambda: 0

    def listen(self, backlog: int = BACKLOG) -> None:
        """Listen. A smaller backlog has no effect: asyncio passes the number that it accepts at once."""
        super().listen(max(backlog, BACKLOG))
        self._keep_spare()

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection; with a spare descriptor if no other is left.

        Raises
        ------
        BlockingIOError
            No connection waits, or this server is just closing some to make room. asyncio tries again at once.
        OSError
        """
        self._keep_spare()
        while True:
            try:
                return super().accept()
            except OSError as error:
                if error.errno not in _TOO_MANY_OPEN:
                    raise
                if self._spare:
                    os.close(self._spare.pop())
                elif self.make_room() > 0:
                    raise BlockingIOError(errno.EAGAIN, "connections are being closed to make room") from error
                else:
                    raise

    def close(self) -> None:
        """Close the socket and its spare descriptors."""
        super().close()
        while self._spare:
            os.close(self._spare.pop())

    def _keep_spare(self) -> None:
        with suppress(OSError):
            while len(self._spare) < SPARE_DESCRIPTORS:
                self._spare.append(os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))


def listen(host: str, port: int) -> Listener:
    """Bind and listen immediately, so that an occupied port is detected here.

    Parameters
    ----------
    host : str
        Name or address to listen on; an IPv6 address may have brackets.
    port : int
        0: the system chooses one.

    Raises
    ------
    CannotListen
        Listening on the address is impossible.
    """
    try:
        return _listen(without_brackets(host), port)
    except OSError as error:
        raise CannotListen(host, port, error) from error


def _listen(host: str, port: int) -> Listener:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    # Pass the protocol: otherwise asyncio leaves Nagle's algorithm on, and answers on a kept connection wait 40 ms.
    listener = Listener(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # accepted sockets inherit it
        listener.bind(address)
        listener.listen()  # at once, so that a second server on this port fails here
    except OSError:
        listener.close()
        raise
    return listener
