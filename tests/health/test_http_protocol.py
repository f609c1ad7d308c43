"""Clients that do not read their answers, and requests that are no HTTP, at a real server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from ccmusic.health import http_protocol, listen
from ccmusic.health.connections import OpenConnections
from ccmusic.health.http_protocol import SAFE_HEADERS, _TimedTransport, limited_protocol
from support.fake_clock import FakeProcess
from support.waiting import PATIENCE_SECONDS, wait_until

SEND_SECONDS = 0.5
LARGE_BYTES = 64 * 2**20
"""More than all buffers of the kernel hold."""


async def large(request) -> Response:
    return Response(bytes(LARGE_BYTES))


LET_GO = threading.Event()


async def block(request) -> Response:
    LET_GO.wait(PATIENCE_SECONDS)  # the whole event loop
    return Response()


@pytest.fixture
def served() -> Iterator[tuple[tuple[str, int], OpenConnections]]:
    connections = OpenConnections(lambda _: 100)
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        Starlette(routes=[Route("/large", large), Route("/block", block)]),
        http=limited_protocol(connections, PATIENCE_SECONDS, send_seconds=SEND_SECONDS),
        log_config=None,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        wait_until(lambda: server.started, "the server")
        yield listener.getsockname(), connections
    finally:
        server.should_exit = True
        thread.join()


def ask(address: tuple[str, int], request: bytes) -> socket.socket:
    client = socket.create_connection(address, timeout=PATIENCE_SECONDS)
    client.sendall(request)
    return client


def read_all(client: socket.socket) -> bytes:
    answer = bytearray()
    while part := client.recv(2**20):
        answer += part
    return bytes(answer)


def test_a_client_that_does_not_read_is_disconnected(served):
    address, connections = served
    with ask(address, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n") as client:
        wait_until(lambda: len(connections) == 1, "the connection is open")
        wait_until(lambda: len(connections) == 0, "the connection is closed")
        try:
            received = len(read_all(client))
        except ConnectionResetError:
            received = 0
        assert received < LARGE_BYTES


class StubTransport:
    """A transport whose client reads what a test says, and its loop."""

    def __init__(self) -> None:
        self.waiting = 0
        self.aborted = False
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def get_extra_info(self, name: str) -> socket.socket:
        closed = socket.socket()
        closed.close()
        return closed

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def write(self, data: bytes) -> None:
        self.waiting += len(data)

    def abort(self) -> None:
        self.aborted = True

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self.timers.append((seconds, call))
        return self

    def cancel(self) -> None:
        self.timers.clear()


@pytest.fixture
def timed(monkeypatch) -> tuple[_TimedTransport, StubTransport, FakeProcess]:
    process, transport = FakeProcess(), StubTransport()
    monkeypatch.setattr(http_protocol, "CLOCK", process.clock)
    return _TimedTransport(transport, transport, 30.0), transport, process


def end_of_period(transport: StubTransport) -> None:
    [(_, check)], transport.timers = transport.timers, []
    check()


@pytest.mark.parametrize(("read", "aborted"), [(0, True), (30 * 1024 - 1, True), (30 * 1024, False)])
def test_a_client_must_read_a_kibibyte_a_second(timed, read, aborted):
    writer, transport, process = timed
    writer.write(bytes(10**6))
    for _ in range(3):
        transport.waiting -= read
        process.run(30.5)
        end_of_period(transport)
        assert transport.aborted is aborted
        if aborted:
            break


def test_an_answer_that_was_sent_is_not_watched(timed):
    writer, transport, process = timed
    transport.write = lambda data: None  # it is sent at once
    writer.write(b"x")
    assert transport.timers == []
    writer, transport, process = timed
    del transport.write
    writer.write(b"x")
    transport.waiting = 0
    process.run(30.5)
    end_of_period(transport)
    assert transport.timers == []
    assert not transport.aborted


def test_a_client_is_not_disconnected_because_this_process_was_stopped(timed):
    writer, transport, process = timed
    writer.write(bytes(1000))
    process.stop(600.0)
    end_of_period(transport)
    assert not transport.aborted
    process.run(30.5)
    end_of_period(transport)
    assert transport.aborted


def test_what_is_no_http_is_refused_with_the_headers_of_every_answer(served):
    address, _ = served
    with ask(address, b"nonsense\r\n\r\n") as client:
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 400 Bad Request"
    assert {f"{name}: {value}" for name, value in SAFE_HEADERS} <= set(lines)
    assert {"connection: close", f"content-length: {len(body)}"} <= set(lines)


def test_each_connection_has_the_name_of_its_client(served):
    address, connections = served
    with ask(address, b"GET / HTTP/1.1\r\n"):
        wait_until(lambda: [each.client_name for each in connections._open] == ["127.0.0.1"], "it is known")


def test_a_request_that_waits_in_the_kernel_is_seen(served):
    address, connections = served
    LET_GO.clear()
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as client:
        wait_until(lambda: len(connections) == 1, "the connection is open")
        (connection,) = connections._open
        assert not connection.has_unread
        with ask(address, b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n"):
            wait_until(lambda: len(connections) == 2, "the other connection is open")
            client.sendall(b"GET /")
            wait_until(lambda: connection.has_unread, "the request has arrived")
            LET_GO.set()
            wait_until(lambda: not connection.has_unread, "the request was read")
    wait_until(lambda: len(connections) == 0, "both are closed")
    assert not connection.has_unread
