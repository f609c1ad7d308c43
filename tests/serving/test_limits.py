"""Request ids, and limits on request bodies, without a server."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ccmusic.errors import Overloaded, UploadTooLarge
from ccmusic.serving import limits
from ccmusic.serving.admission import Admissions
from ccmusic.serving.limits import (
    FORM_OVERHEAD_BYTES,
    BodyLimit,
    BodyRules,
    RequestId,
    RequestTooSlow,
)
from ccmusic.serving.oip_tensors import MAX_JSON_BYTES
from ccmusic.settings import Settings
from support.fake_clock import FakeProcess

MAX_BYTES = 100
MAX_REQUEST_BYTES = 2000
LIMIT = MAX_BYTES + FORM_OVERHEAD_BYTES


def run(app, chunks=(b"",), headers=(), arrives=True, path="/v1/classify") -> list[dict]:
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

    headers = list(headers)
    if b"content-length" not in dict(headers):
        headers.append((b"transfer-encoding", b"chunked"))
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
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
        except (UploadTooLarge, RequestTooSlow, Overloaded) as error:
            refusals.append(error)
        await respond(send)

    return app


def limited(
    app, *, idle_seconds: float = 60.0, timeout_seconds: float = 60.0, draining: bool = False, **settings: object
) -> BodyLimit:
    settings = Settings(**{"max_upload_bytes": MAX_BYTES, "max_request_bytes": MAX_REQUEST_BYTES} | settings)
    rules, admissions = BodyRules(settings), Admissions(settings)
    return BodyLimit(app, rules, admissions, idle_seconds, timeout_seconds, lambda: draining)


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


@pytest.mark.parametrize("length", [str(LIMIT + 1).encode(), b"9" * 5000], ids=["one more", "5,000 digits"])
def test_a_declared_length_over_the_limit_is_refused_before_the_application_runs(length):
    read = []
    start, _ = run(limited(reading(read, [])), headers=[(b"content-length", length)])
    assert (start["status"], read) == (413, [])
    assert (b"connection", b"close") in start["headers"]


@pytest.mark.parametrize("length", [str(LIMIT).encode(), b"many", b"-1"])
def test_other_declared_lengths_are_left_to_the_count(length):
    read = []
    run(limited(reading(read, [])), [b"abc"], headers=[(b"content-length", length)])
    assert read == [b"abc"]


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/v1/classify", LIMIT),
        ("/gradio_api/upload", LIMIT),
        ("/v2/models/x/infer", MAX_JSON_BYTES),
        ("/v2/repository/index", MAX_REQUEST_BYTES),
        ("/gradio_api/queue/join", MAX_REQUEST_BYTES),
        ("/no/such/path", MAX_REQUEST_BYTES),
        ("/livez", MAX_REQUEST_BYTES),
    ],
)
def test_only_requests_with_a_recording_may_be_large(path, limit):
    for size, status in ((limit, 200), (limit + 1, 413)):
        start, _ = run(limited(reading([], [])), headers=[(b"content-length", str(size).encode())], path=path)
        assert start["status"] == status, path


def test_tensors_after_json_may_be_as_large_as_a_recording():
    headers = [(b"content-length", str(LIMIT + 1).encode()), (b"inference-header-content-length", b"100")]
    assert run(limited(reading([], [])), headers=headers, path="/v2/models/x/infer")[0]["status"] == 413


FULL = {"max_upload_bytes": 2**20, "upload_memory_bytes": 2**20, "max_bytes_on_disk": 0, "max_bytes_in_memory": 2**20}


def test_a_body_without_room_is_refused_before_the_application_runs():
    read = []
    start, body = run(
        limited(reading(read, []), **FULL, max_client_share=0.1), headers=[(b"content-length", b"900000")]
    )
    headers = dict(start["headers"])
    assert (start["status"], headers[b"retry-after"], headers[b"connection"], read) == (503, b"5", b"close", [])
    assert b'"overloaded"' in body["body"]


def test_a_body_of_unknown_length_is_admitted_while_it_arrives():
    read, refusals = [], []
    app = limited(reading(read, refusals), **FULL, max_client_share=0.5)
    start, _ = run(app, [bytes(200_000)] * 5)
    assert isinstance(refusals[0], Overloaded)
    assert sum(map(len, read)) <= 600_000
    assert (b"connection", b"close") in start["headers"]


def test_room_is_free_again_after_the_answer():
    app = limited(reading([], []), **FULL, max_client_share=1.0)
    for _ in range(3):
        assert run(app, [bytes(900_000)], headers=[(b"content-length", b"900000")])[0]["status"] == 200


def test_requests_without_a_body_need_no_room():
    app = limited(reading([], []), **FULL, max_client_share=0.000_001)
    assert run(app, headers=[(b"content-length", b"0")])[0]["status"] == 200


@pytest.mark.parametrize("answers", [True, False])
def test_a_refusal_that_the_application_takes_for_an_internal_error_is_answered(answers):
    """Gradio's application does."""

    async def app(_, receive, send):
        try:
            while (await receive())["more_body"]:
                pass
        except UploadTooLarge:
            if answers:
                await send({"type": "http.response.start", "status": 500, "headers": []})
                await send({"type": "http.response.body", "body": b"Internal Server Error"})
            raise

    start, body = run(limited(app), [bytes(LIMIT), b"1"])
    assert start["status"] == 413
    assert b"upload-too-large" in body["body"]


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

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/classify",
        "headers": [(b"transfer-encoding", b"chunked")],
    }
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
