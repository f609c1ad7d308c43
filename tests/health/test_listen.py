import socket

import pytest

from ccmusic.health import listen


def test_it_listens_at_once_without_the_delay_of_nagle():
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # what asyncio looks at before it turns the delay off
        with socket.create_connection(listener.getsockname(), timeout=5):
            pass


def test_an_occupied_port_is_an_error():
    with listen("127.0.0.1", 0) as listener, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", listener.getsockname()[1])
