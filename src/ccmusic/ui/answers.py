"""The answers of Gradio's routes as clients get them: no path, no stack, no address of an object."""

from __future__ import annotations

import errno
import json
import logging
import re
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024
"""Most bytes of an error that are looked at."""
MAX_TEXT = 300

_BY_NAME = re.compile("/gradio_api/(call|run|api)/")
"""Gradio's routes that raise one of two errors if there is no function of this name."""
_ARGUMENTS_BY_NAME = "/gradio_api/call/v2/"
"""Its route that raises others if the arguments are not those of the function."""
_JSON = [(b"content-type", b"application/json")]
_INTERNAL = re.compile(r"/\w[^ ]*/|\\\w+\\|0x[0-9a-fA-F]{5,}|Traceback|File \"|\bobject at\b|[\x00-\x1f\x7f]")
"""What an error text must not contain: paths, addresses, stacks, line ends."""


class CleanAnswers:
    """Replace the errors of an application of Gradio by short texts, and log what it raises.

    Parameters
    ----------
    app : ASGIApp
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send)
        try:
            await self._app(scope, receive, answer.send)
        except HTTPException:
            raise
        except Exception as error:
            request_id = scope.get("request_id")
            status = _status_of(error, scope["path"])
            if answer.is_stream:  # Gradio raises at the end of a stream of an unknown session, too
                logger.debug("request %s: an event stream of the page ended early: %s", request_id, error)
                await answer.end_stream()
            elif status is not None and not answer.passed:
                await JSONResponse({"detail": HTTPStatus(status).phrase}, status)(scope, receive, send)
            else:
                logger.exception("request %s: the page failed", request_id)
                await answer.end(500)
        else:
            await answer.end()


def _status_of(error: Exception, path: str) -> int | None:
    """The status for an error that the request has caused; None for any other."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return 404
    from gradio.route_utils import FnIndexInferError  # imported late: by now it is loaded

    if isinstance(error, KeyError | FnIndexInferError) and _BY_NAME.search(path):
        return 404
    if isinstance(error, TypeError | ValueError) and _ARGUMENTS_BY_NAME in path:
        return 422
    return None


class _Answer:
    """One answer: an error is kept until the application has ended, and then sent in its clean form."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = bytearray()
        self.passed = False
        self.is_stream = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] >= 400:
                self._start = message
                return
            kind = MutableHeaders(scope=message).get("content-type", "")
            self.is_stream = kind.startswith("text/event-stream")
        if self._start is None:
            self.passed = True
            await self._send(message)
            return
        self._body += message.get("body", b"")[: MAX_BYTES - len(self._body)]

    async def end_stream(self) -> None:
        """End an event stream as if it were complete: its reader has the last message."""
        with suppress(RuntimeError):  # it has ended already
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def end(self, status: int | None = None) -> None:
        """Send the error that was kept; one with `status` if there is none and nothing was sent."""
        if self._start is None:
            if status is None or self.passed:
                return
            self._start = {"type": "http.response.start", "status": status, "headers": _JSON}
        headers = MutableHeaders(scope=self._start)
        is_json = headers.get("content-type", "").startswith("application/json")
        body = clean(bytes(self._body), self._start["status"], is_json=is_json)
        headers["content-length"] = str(len(body))
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": body})


def clean(body: bytes, status: int, *, is_json: bool) -> bytes:
    """The body of an error without what is internal.

    Parameters
    ----------
    body : bytes
    status : int
    is_json : bool
        Whether the body is JSON, with its text in the field ``detail`` or ``error``.
    """
    if not is_json:
        return (_clean_text(body.decode("utf-8", "replace"), status) or "").encode()
    try:
        found = json.loads(body)
    except ValueError:
        found = {}
    fields = found if isinstance(found, dict) else {}
    kept = {name: _clean_text(fields[name], status) for name in ("detail", "error") if name in fields}
    return json.dumps(kept or {"detail": HTTPStatus(status).phrase}).encode()


def _clean_text(text: Any, status: int) -> str | None:
    if text is None:
        return None
    if isinstance(text, str) and len(text) <= MAX_TEXT and not _INTERNAL.search(text):
        return text
    return HTTPStatus(status).phrase
