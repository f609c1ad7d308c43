import re
import socket
import threading
from contextlib import ExitStack, contextmanager

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ccmusic.health import Health, HealthServer, install, listen, routes
from support.waiting import PATIENCE_SECONDS, wait_until


@pytest.fixture
def served():
    health = Health("app", "1")
    server = HealthServer(routes(health), "127.0.0.1", 0)
    server.start()
    yield health, f"http://127.0.0.1:{server.port}"
    health.stop()
    server.stop()


@contextmanager
def careless_application(health):
    """A real server whose one route blocks its event loop; gives its address, an event set within, and the way out."""
    inside, release = threading.Event(), threading.Event()

    async def careless(request):
        inside.set()
        release.wait()
        return PlainTextResponse("done")

    app = Starlette(routes=[Route("/careless", careless)])
    install(app, health)
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        wait_until(lambda: server.started, "the application")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", inside, release
    finally:
        release.set()
        server.should_exit = True
        thread.join()


def test_the_server_answers(served):
    health, url = served
    assert httpx.get(f"{url}/livez").status_code == 503  # nothing is promised yet
    health.start()
    for probe in ("health", "startupz", "livez", "readyz"):
        assert httpx.get(f"{url}/{probe}").status_code == 200
        assert httpx.head(f"{url}/{probe}").headers["content-length"] != "0"


def test_an_occupied_port_fails_at_once():
    server = HealthServer([], "127.0.0.1", 0)
    try:
        with pytest.raises(OSError, match="in use"):
            HealthServer([], "127.0.0.1", server.port)
    finally:
        server.stop()


def test_stopping_releases_the_port():
    server = HealthServer([], "127.0.0.1", 0)
    server.start()
    wait_until(lambda: server._server.started, "the server")
    server.stop()
    assert not server._thread.is_alive()
    again = HealthServer([], "127.0.0.1", server.port)
    again.stop()


def test_a_blocked_application_is_reported_with_its_stack(served):
    health, url = served
    with careless_application(health) as (main_url, inside, release), httpx.Client(timeout=PATIENCE_SECONDS) as client:
        assert client.get(f"{main_url}/livez").status_code == 200
        request = threading.Thread(
            target=httpx.get, args=(f"{main_url}/careless",), kwargs={"timeout": PATIENCE_SECONDS}
        )
        request.start()
        assert inside.wait(PATIENCE_SECONDS)
        wait_until(lambda: client.get(f"{url}/livez").status_code == 503, "/livez is 503")
        cause = re.compile(r"Health check failed: event_loop: blocked for \d+\.\d s at \w+\.py:\d+ in \w+$")
        wait_until(lambda: bool(cause.match(client.get(f"{url}/health").json().get("message", ""))), "the message")
        assert "in careless\n" in client.get(f"{url}/livez?verbose").text
        release.set()
        request.join()
        wait_until(lambda: client.get(f"{main_url}/livez").status_code == 200, "/livez is 200 again")


def connect(port: int, data: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
    client.sendall(data)
    return client


@pytest.mark.parametrize(
    "data", [b"", b"GET /livez HTTP/1.1\r\nHo", b"POST /livez HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"]
)
def test_unfinished_requests_do_not_keep_a_probe_out(data):
    health = Health("app", "1")
    server = HealthServer(routes(health), "127.0.0.1", 0, max_connections=8)
    server.start()
    try:
        with ExitStack() as clients:
            for _ in range(40):
                clients.enter_context(connect(server.port, data))
            answer = httpx.get(f"http://127.0.0.1:{server.port}/livez", timeout=PATIENCE_SECONDS)
            assert answer.status_code == 503  # nothing is promised yet, but it is an answer
            wait_until(lambda: len(server._connections) <= 8, "the oldest connections are closed")
    finally:
        server.stop()


def test_a_client_whose_head_does_not_arrive_is_disconnected():
    server = HealthServer([], "127.0.0.1", 0, head_seconds=0.2)
    server.start()
    try:
        with connect(server.port, b"GET /livez HTTP/1.1\r\nHo") as client:
            assert client.recv(100) == b""
    finally:
        server.stop()


def test_the_check_fails_when_the_server_has_ended_by_itself():
    server = HealthServer(routes(Health("app", "1")), "127.0.0.1", 0)
    check = server.check()
    assert check.affects == {"health"}
    assert check.observe().status == "pass", "it has not started yet"
    server.start()
    assert check.observe().value == server.port
    wait_until(lambda: server._server.started, "it has started")
    server._server.should_exit = True  # as after an error in its loop
    wait_until(lambda: check.observe().status == "fail", "it has ended")
    assert check.observe().code == "ended"
    server.stop()
    assert check.observe().status == "pass", "it was stopped"
