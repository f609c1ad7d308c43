"""The errors of Gradio as clients get them."""

import asyncio
import errno
import json
import logging

import pytest
from gradio.route_utils import FnIndexInferError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse

from ccmusic.ui.answers import CleanAnswers

INTERNAL = [
    "Cannot move /etc/passwd to the cache",
    "File not found: /tmp/gradio/abc/clip.wav",
    "<function f at 0x7f0123456789>",
    "<gradio.Blocks object at somewhere>",
    'Traceback (most recent call last):\n  File "x.py"',
    "two\nlines",
    "x" * 5000,
]


def answer(app, path="/config") -> tuple[int, dict[str, str], bytes]:
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        await asyncio.Event().wait()

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "request_id": "r1"}
    asyncio.run(CleanAnswers(app)(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("text", INTERNAL)
@pytest.mark.parametrize("field", ["detail", "error"])
def test_what_is_internal_does_not_leave(text, field):
    status, headers, body = answer(JSONResponse({field: text, "input": text}, 400))
    assert (status, json.loads(body)) == (400, {field: "Bad Request"})
    assert int(headers["content-length"]) == len(body)
    status, headers, body = answer(PlainTextResponse(text, 500))
    assert (status, body) == (500, b"Internal Server Error")


def test_a_text_for_people_stays():
    assert json.loads(answer(JSONResponse({"detail": "Queue is full."}, 503))[2]) == {"detail": "Queue is full."}
    assert answer(PlainTextResponse("File size exceeded", 413))[2] == b"File size exceeded"
    assert json.loads(answer(JSONResponse({"error": None}, 500))[2]) == {"error": None}


@pytest.mark.parametrize(
    "body", [[], "text", {"detail": [{"input": "x" * 10**6}]}, {"detail": "a", "b": "x" * 10**6}, {"other": 1}]
)
def test_an_error_of_another_form_becomes_its_phrase(body):
    status, _, content = answer(JSONResponse(body, 422))
    assert (status, json.loads(content)) == (422, {"detail": "Unprocessable Entity"})


def test_other_answers_pass_piece_by_piece():
    status, _, body = answer(StreamingResponse(iter([b"/tmp/", b"a/b"]), 200))
    assert (status, body) == (200, b"/tmp/a/b")


def test_what_it_raises_is_logged_with_the_request_and_answered(caplog):
    async def app(scope, receive, send):
        raise RuntimeError("/etc/passwd")

    status, _, body = answer(app)
    assert (status, json.loads(body)) == (500, {"detail": "Internal Server Error"})
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "r1" in record.getMessage()
    assert record.exc_info[0] is RuntimeError


def test_what_it_raises_after_its_own_error_is_logged_once(caplog):
    async def app(scope, receive, send):
        await PlainTextResponse("Internal Server Error", 500)(scope, receive, send)
        raise RuntimeError

    assert answer(app)[0] == 500
    assert len(caplog.records) == 1


def test_the_stream_of_an_unknown_session_ends_without_a_stack(caplog):
    caplog.set_level(logging.DEBUG)

    async def app(scope, receive, send):
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
        await send(start)
        await send({"type": "http.response.body", "body": b"data: 1", "more_body": True})
        raise RuntimeError("a\nb")

    assert answer(app)[2] == b"data: 1"
    [record] = [record for record in caplog.records if record.name.startswith("ccmusic")]
    assert (record.levelno, record.exc_info) == (logging.DEBUG, None)


@pytest.mark.parametrize(
    ("path", "error", "status"),
    [
        ("/gradio_api/call/x", KeyError("/x"), 404),
        ("/gradio_api/call/x", FnIndexInferError("/x"), 404),
        ("/gradio_api/run/x", KeyError("/x"), 404),
        ("/gradio_api/call/v2/classify", TypeError("Parameter `a` is not valid"), 422),
        ("/gradio_api/call/v2/x", KeyError("/x"), 404),
        ("/assets/xxx", OSError(errno.ENAMETOOLONG, "File name too long"), 404),
        ("/config", KeyError("x"), 500),
        ("/gradio_api/queue/join", TypeError("x"), 500),
    ],
)
def test_what_gradio_raises_for_its_client_is_no_error_of_the_service(path, error, status, caplog):
    async def app(scope, receive, send):
        try:
            raise error
        finally:  # as Starlette does before it raises again
            await PlainTextResponse("Internal Server Error", 500)(scope, receive, send)

    found, _, body = answer(app, path)
    assert found == status
    assert b"x" not in body.replace(b"Unprocessable", b"")
    assert len(caplog.records) == (status == 500)


def test_an_http_error_is_left_to_the_application():
    async def app(scope, receive, send):
        raise HTTPException(404)

    with pytest.raises(HTTPException):
        answer(app)
