import errno
import socket

import pytest

from ccmusic.health import CannotListen
from ccmusic.health.addresses import address, client_name, local_address


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


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:", "unix:"),
        ("", ""),
    ],
)
def test_a_client_is_its_address_or_its_network(host, name):
    assert client_name(host) == name
