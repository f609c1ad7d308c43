from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from ccmusic.health import CannotListen, listen
from ccmusic.health.listen import SEND_BUFFER_BYTES, SPARE_DESCRIPTORS
from support.waiting import PATIENCE_SECONDS


def test_it_listens_at_once_without_the_delay_of_nagle():
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # what asyncio looks at before it turns the delay off
        with socket.create_connection(listener.getsockname(), timeout=PATIENCE_SECONDS):
            pass


def test_the_kernel_keeps_little_of_an_answer_that_is_not_read():
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname(), timeout=PATIENCE_SECONDS),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * SEND_BUFFER_BYTES


def test_an_occupied_port_is_an_error():
    with (
        listen("127.0.0.1", 0) as listener,
        pytest.raises(CannotListen, match=r"cannot listen on 127.0.0.1:\d+: .*in use; stop the program"),
    ):
        listen("127.0.0.1", listener.getsockname()[1])


def test_an_address_in_brackets():
    try:
        listener = listen("[::1]", 0)
    except CannotListen as error:
        assert error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
        pytest.skip("this machine has no ::1")
    with listener:
        assert listener.family == socket.AF_INET6


@contextmanager
def no_descriptor_left() -> Iterator[list[int]]:
    """Use up every descriptor of this process; gives those that were opened for that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 8, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield taken
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_connection_is_accepted_when_no_descriptor_is_left():
    with listen("127.0.0.1", 0) as listener, ExitStack() as clients:
        for _ in range(SPARE_DESCRIPTORS + 1):
            clients.enter_context(socket.create_connection(listener.getsockname(), timeout=PATIENCE_SECONDS))
        with no_descriptor_left():
            accepted = [clients.enter_context(listener.accept()[0]) for _ in range(SPARE_DESCRIPTORS)]
            with pytest.raises(OSError, match="Too many open files"):
                listener.accept()
            # once a connection is closed, its descriptor serves the next one
            accepted[0].close()
            clients.enter_context(listener.accept()[0])


def test_without_a_spare_descriptor_the_server_makes_room_and_accepts_soon():
    with listen("127.0.0.1", 0) as listener, ExitStack() as clients:
        for _ in range(SPARE_DESCRIPTORS + 1):
            clients.enter_context(socket.create_connection(listener.getsockname(), timeout=PATIENCE_SECONDS))
        with no_descriptor_left():
            accepted = [clients.enter_context(listener.accept()[0]) for _ in range(SPARE_DESCRIPTORS)]

            def close_one() -> int:
                accepted.pop().close()
                return 1

            listener.make_room = close_one
            with pytest.raises(BlockingIOError):
                listener.accept()
            clients.enter_context(listener.accept()[0])


def test_asyncio_cannot_shorten_the_backlog():
    with listen("127.0.0.1", 0) as listener, ExitStack() as clients:
        listener.listen(1)
        for _ in range(50):
            clients.enter_context(socket.create_connection(listener.getsockname(), timeout=PATIENCE_SECONDS))


def test_closing_releases_the_spare_descriptors():
    lowest = os.dup(0)
    os.close(lowest)
    listen("127.0.0.1", 0).close()
    again = os.dup(0)
    os.close(again)
    assert again == lowest
