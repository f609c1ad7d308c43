"""What reaches Gradio's own routes."""

import asyncio
import json

import pytest

from ccmusic.serving.page_requests import MAX_TEXT, PageRequests

CLIP = {"path": "/tmp/x/clip.wav", "orig_name": "夏.wav", "size": 3, "meta": {"_type": "gradio.FileData"}}
JOIN = {"data": [CLIP, "whole", None], "event_data": None, "fn_index": 3, "trigger_id": 12, "session_hash": "a1b2c3"}


def send(body: object, path: str = "/gradio_api/queue/join", method: str = "POST", query: bytes = b""):
    """The status of the answer and the body that Gradio got; None if it got none."""
    got, sent = [], []
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    messages = [{"type": "http.request", "body": content[i::2], "more_body": i == 0} for i in (0, 1)]
    if len(content) > 1:
        half = len(content) // 2
        messages[0]["body"], messages[1]["body"] = content[:half], content[half:]

    async def gradio(scope, receive, send):
        read = b""
        while True:
            message = await receive()
            read += message["body"]
            if not message["more_body"]:
                break
        got.append(read)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return messages.pop(0)

    async def note(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": []}
    asyncio.run(PageRequests(gradio, 32)(scope, receive, note))
    return sent[0]["status"], (got[0] if got else None)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("queue/join", JOIN),
        ("run/predict", {"data": [], "fn_index": 0, "session_hash": "a", "trigger_id": None}),
        ("call/classify", {"data": [CLIP, "whole"]}),
        ("call/v2/classify", {"audio": CLIP, "windows": "whole"}),
        ("cancel", {"session_hash": "a", "fn_index": 3, "event_id": "0" * 32}),
        ("reset", {"event_id": "0" * 32}),
    ],
)
def test_what_the_page_and_clients_send_passes_unchanged(path, body):
    assert send(body, f"/gradio_api/{path}") == (200, json.dumps(body).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"data": "text"},
        {"data": None},
        {"data": {"a": 1}},
        {"session_hash": "a b"},
        {"session_hash": "a" * 65},
        {"session_hash": 5},
        {"session_hash": "a\n"},
        {"event_id": ["x"]},
        {"fn_index": "3"},
        {"fn_index": 3.5},
        {"fn_index": True},
        {"fn_index": 2**31},
        {"trigger_id": -(2**31)},
        {"batched": True},
        {"simple_format": None},
        {"oauth_token": "secret"},
        {"other": 1},
        {"data": ["x" * (MAX_TEXT + 1)]},
        {"data": [{"path": "/tmp/a\0.wav"}]},
        {"data": [{"a\nb": 1}]},
        {"data": [[]] * 1000},
    ],
)
def test_what_neither_sends_is_refused(change):
    assert send(JOIN | change) == (422, None)


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b"null", b"5", b'{"data":[NaN]}', b"[" * 400, rb'{"data":["\ud800"]}']
)
def test_what_is_no_object_is_refused(body):
    assert send(body) == (422, None)


@pytest.mark.parametrize(
    "target",
    [
        {"path": "/gradio_api/call/" + "x" * 3000},
        {"path": "/gradio_api/call/a\nb"},
        {"path": "/gradio_api/queue/data", "query": b"session_hash=" + b"x" * 3000},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_address_that_the_page_does_not_use_is_refused(method, target):
    assert send(JOIN, method=method, **target) == (422, None)


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/v1/classify", "/gradio_apix/y", "/"])
def test_other_bodies_pass(path):
    assert send(b"\x00anything", path) == (200, b"\x00anything")


def test_a_broken_off_request_is_refused():
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def note(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/gradio_api/queue/join",
        "query_string": b"",
        "headers": [],
    }
    asyncio.run(PageRequests(None, 32)(scope, receive, note))
    assert sent[0]["status"] == 422
