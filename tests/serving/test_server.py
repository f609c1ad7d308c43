import socket

import pytest

from ccmusic.serving.server import _listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_answers_are_not_held_back_for_acknowledgements(host):
    try:
        listener = _listen(host, 0)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with listener:
        # what asyncio asks before it switches Nagle's algorithm off
        assert (listener.type, listener.proto) == (socket.SOCK_STREAM, socket.IPPROTO_TCP)
