"""A listening socket, bound before anything else is built."""

from __future__ import annotations

import socket

BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen immediately, so that an occupied port is detected here.

    Parameters
    ----------
    host : str
        Name or address to listen on.
    port : int
        0: the system chooses one.

    Raises
    ------
    OSError
        Listening on the address is impossible.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    # Pass the protocol: otherwise asyncio leaves Nagle's algorithm on, and answers on a kept connection wait 40 ms.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)  # at once, so that a second server on this port fails here
    except OSError:
        listener.close()
        raise
    return listener
