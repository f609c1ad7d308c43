"""Addresses to listen on, as people write and read them, and why listening on one is impossible. Names of clients."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from ipaddress import ip_address, ip_network

IPV6_PREFIX_BITS = 64
_ANY = ("0.0.0.0", "::")  # noqa: S104  a comparison
_ADVICE = {
    errno.EADDRINUSE: "stop the program that uses the port, or choose another port",
    errno.EACCES: "ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): choose a higher port",
    errno.EADDRNOTAVAIL: "this machine does not have the address: choose one that it has, or 0.0.0.0 or ::",
    errno.EAFNOSUPPORT: "this machine does not have this kind of address: choose another, such as 0.0.0.0",
}


class CannotListen(OSError):
    """Listening on an address is impossible.

    Attributes
    ----------
    advice : str
        What to do next.
    """

    def __init__(self, host: str, port: int, error: OSError) -> None:
        super().__init__(error.errno, error.strerror or str(error))
        self._address = address(host, port)
        if isinstance(error, socket.gaierror):
            self.advice = "the name has no address here: choose an address of this machine, or 0.0.0.0 or ::"
        else:
            self.advice = _ADVICE.get(error.errno or 0, "choose another address or port")

    def __str__(self) -> str:
        return f"cannot listen on {self._address}: {self.strerror}; {self.advice}"


def without_brackets(host: str) -> str:
    """The address in ``[::1]``; other hosts unchanged."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def address(host: str, port: int) -> str:
    """Host and port as in an address of the web: ``127.0.0.1:80``, ``[::1]:80``."""
    host = without_brackets(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def local_address(host: str, port: int) -> str:
    """The same for a program on this machine: a server that listens on every address is at ``localhost``."""
    return address("localhost" if without_brackets(host) in _ANY else host, port)


def unmapped(host: str) -> str:
    """The IPv4 address in ``::ffff:192.0.2.1``, which a socket has that listens on both; other hosts unchanged."""
    with suppress(ValueError):
        address = ip_address(host)
        if address.version == 6 and address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
    return host


def client_name(host: str) -> str:
    """The name of a client by its address: one client can have every address of an IPv6 network.

    Parameters
    ----------
    host : str
        An address. Anything else, such as what a trusted proxy has sent, is a name itself.
    """
    host = unmapped(host)
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return host if address.version == 4 else str(ip_network((address, IPV6_PREFIX_BITS), strict=False))


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach an address. A name but ``localhost`` may be any address."""
    host = without_brackets(host)
    try:
        return ip_address(unmapped(host)).is_loopback
    except ValueError:
        return host == "localhost"
