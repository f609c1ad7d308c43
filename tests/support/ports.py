"""Ports for programs that are told theirs, instead of listening on any and saying which."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

FIRST, BEYOND = 20_000, 32_768
"""From the second number on, Linux itself gives ports to a caller that asks for any."""


def free_port() -> int:
    """A random port of 127.0.0.1 that nobody uses, and that nobody who asks for any port gets meanwhile."""
    for _ in range(1000):
        port = FIRST + secrets.randbelow(BEYOND - FIRST)
        with suppress(OSError), socket.socket() as tried:
            tried.bind(("127.0.0.1", port))
            return port
    raise AssertionError("there is no free port")
