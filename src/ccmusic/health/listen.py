"""A listening socket, bound before anything else is built."""

from __future__ import annotations

import socket

BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen at once, so that an occupied port shows itself here.

    Parameters
    ----------
    host : str
        Name or address to listen on.
    port : int
        0 for one that the system chooses.

    Raises
    ------
    OSError
        The address cannot be listened on.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    # With the protocol: without it asyncio leaves Nagle's algorithm on, and an answer on a kept connection waits 40 ms.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)  # at once, so that a second server on this port fails here
    except OSError:
        listener.close()
        raise
    return listener
