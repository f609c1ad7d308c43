import errno
import socket

from ccmusic.health import CannotListen
from ccmusic.health.addresses import address, local_address


def test_each_cause_has_its_own_advice(monkeypatch):
    advice = set()
    for number in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL, errno.EMFILE):
        advice.add(CannotListen("::1", 80, OSError(number, "text")).advice)
    advice.add(CannotListen("no.such.host", 80, socket.gaierror(socket.EAI_NONAME, "unknown")).advice)
    assert len(advice) == 5


def test_addresses_as_people_can_use_them():
    assert address("127.0.0.1", 80) == "127.0.0.1:80"
    assert address("::1", 80) == address("[::1]", 80) == "[::1]:80"
    assert local_address("::", 80) == local_address("[::]", 80) == local_address("0.0.0.0", 80) == "localhost:80"
    assert local_address("fe80::1", 80) == "[fe80::1]:80"
