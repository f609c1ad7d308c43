"""Request ids, and limits on request bodies, without a server."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ccmusic.errors import UploadTooLarge
from ccmusic.serving import limits
from ccmusic.serving.limits import (
    FORM_OVERHEAD_BYTES,
    BodyLimit,
    RequestId,
    RequestTooSlow,
    client_name,
    client_of_request,
)
from support.fake_clock import FakeProcess

MAX_BYTES = 100
LIMIT = MAX_BYTES + FORM_OVERHEAD_BYTES


def run(app, chunks=(b"",), headers=(), arrives=True) -> list[dict]:
    """Send one request to an ASGI application; return the messages that it sends.

    Without `arrives`, the body stops after `chunks` and never ends.
    """
    sent = []
    last = len(chunks) - 1 if arrives else len(chunks)
    messages = [{"type": "http.request", "body": body, "more_body": i < last} for i, body in enumerate(chunks)]

    async def receive():
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 20))
    return sent


async def respond(send: Callable[[dict], Awaitable[None]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
    await send({"type": "http.response.body", "body": b""})


def reading(read: list[bytes], refusals: list[Exception]):
    """An application that reads the whole body, and answers even if that fails."""

    async def app(_, receive, send):
        try:
            while True:
                message = await receive()
                read.append(message["body"])
                if not message["more_body"]:
                    break
        except (UploadTooLarge, RequestTooSlow) as error:
            refusals.append(error)
        await respond(send)

    return app


def limited(app, *, idle_seconds: float = 60.0, timeout_seconds: float = 60.0, draining: bool = False) -> BodyLimit:
    return BodyLimit(app, MAX_BYTES, idle_seconds, timeout_seconds, lambda: draining)


@pytest.mark.parametrize(
    ("sent", "is_kept"),
    [(b"mine-1", True), (b"a" * 64, True), (b"a" * 65, False), (b"a b", False), (b"a\nb", False), (b"", False)],
)
def test_a_request_id_of_the_client_is_kept_only_if_it_is_harmless(sent, is_kept):
    scopes = []

    async def app(scope, _, send):
        scopes.append(scope)
        await respond(send)

    start, _ = run(RequestId(app), headers=[(b"x-request-id", sent)])
    request_id = dict(start["headers"])[b"x-request-id"]
    assert scopes[0]["request_id"].encode() == request_id
    assert (request_id == sent) is is_kept
    assert request_id


def test_a_body_up_to_the_limit_passes():
    read, refusals = [], []
    start, _ = run(limited(reading(read, refusals)), [bytes(LIMIT - 10), bytes(10)])
    assert sum(map(len, read)) == LIMIT
    assert refusals == []
    assert (b"connection", b"close") not in start["headers"]


def test_reading_stops_at_the_first_byte_over_the_limit():
    read, refusals = [], []
    start, _ = run(limited(reading(read, refusals)), [bytes(LIMIT), b"1", b"2"])
    assert sum(map(len, read)) == LIMIT
    assert isinstance(refusals[0], UploadTooLarge)
    assert f"{MAX_BYTES} bytes" in str(refusals[0])
    assert (b"connection", b"close") in start["headers"]


def test_a_declared_length_over_the_limit_is_refused_before_the_application_runs():
    read = []
    start, _ = run(limited(reading(read, [])), headers=[(b"content-length", str(LIMIT + 1).encode())])
    assert (start["status"], read) == (413, [])
    assert (b"connection", b"close") in start["headers"]


@pytest.mark.parametrize("length", [str(LIMIT).encode(), b"many", b"-1"])
def test_other_declared_lengths_are_left_to_the_count(length):
    read = []
    run(limited(reading(read, [])), [b"abc"], headers=[(b"content-length", length)])
    assert read == [b"abc"]


@pytest.mark.parametrize("limits", [{"idle_seconds": 0.01}, {"timeout_seconds": 0.01}])
def test_a_body_that_stops_arriving_is_refused(limits):
    refusals = []
    start, _ = run(limited(reading([], refusals), **limits), [b"a"], arrives=False)
    assert isinstance(refusals[0], RequestTooSlow)
    assert refusals[0].status_code == 408
    assert (b"connection", b"close") in start["headers"]


def test_time_in_which_the_process_was_stopped_is_not_the_clients(monkeypatch):
    """After a pause of a minute, the timer of the event loop is due, but the client had no time to send."""
    process = FakeProcess()
    monkeypatch.setattr(limits, "CLOCK", process.clock)
    parts = [{"type": "http.request", "body": b"a", "more_body": more} for more in (True, False)]
    waited = []

    async def receive():
        if len(parts) == 1 and not waited:
            waited.append(True)
            process.stop(60.0)
            await asyncio.Event().wait()
        return parts.pop(0)

    read, refusals, sent = [], [], []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    app = limited(reading(read, refusals), idle_seconds=0.5, timeout_seconds=30.0)
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 20))
    assert (read, refusals) == ([b"a", b"a"], [])


def test_no_limit_applies_after_the_end_of_the_body():
    """Waiting for a disconnect may take as long as the response."""
    waited = []

    async def app(_, receive, send):
        await receive()
        try:
            await asyncio.wait_for(receive(), 0.05)
        except TimeoutError:
            waited.append(True)
        await respond(send)

    run(limited(app, idle_seconds=0.01), [b"abc"])
    assert waited == [True]


def test_connections_are_closed_while_the_service_shuts_down():
    start, _ = run(limited(reading([], []), draining=True), [b"abc"])
    assert (b"connection", b"close") in start["headers"]


@pytest.mark.parametrize("middleware", [RequestId, limited])
def test_other_protocols_pass_unchanged(middleware):
    scopes = []

    async def app(scope, *_):
        scopes.append(scope)

    asyncio.run(middleware(app)({"type": "lifespan"}, None, None))
    assert scopes == [{"type": "lifespan"}]


@pytest.mark.parametrize(
    ("client", "name"),
    [
        (None, ""),
        (("192.0.2.7", 40000), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 40000), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 40000), "fe80::/64"),
        (("unix:", 0), "unix:"),
    ],
)
def test_a_client_is_its_address_or_its_network(client, name):
    assert client_name(client) == name


def test_the_client_of_a_request_is_known_within_it():
    seen = []

    async def app(scope, receive, send):
        seen.append(client_of_request.get())

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": ("192.0.2.7", 40000)}
    asyncio.run(RequestId(app)(scope, None, None))
    assert seen == ["192.0.2.7"]
    assert client_of_request.get() == ""
