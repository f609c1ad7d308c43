"""The edge: an id for every request, and from none more bytes, or more slowly, than allowed."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccmusic.errors import UploadTooLarge
from ccmusic.serving.problems import problem_response

REQUEST_ID_HEADER = b"x-request-id"
_ALLOWED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

FORM_OVERHEAD_BYTES = 64 * 1024
"""What a multipart form may weigh beyond the recording in it."""


class RequestId:
    """Give each request an id: the client's own when it is harmless, else a random one; the answer repeats it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = dict(scope["headers"]).get(REQUEST_ID_HEADER, b"").decode("latin-1")
        request_id = asked if _ALLOWED_ID.fullmatch(asked) else secrets.token_hex(8)
        scope["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), (REQUEST_ID_HEADER, request_id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_id)


class RequestTooSlow(HTTPException):
    """The client did not send its request in time."""

    def __init__(self, detail: str) -> None:
        super().__init__(408, detail)


class BodyLimit:
    """Refuse a body that is too large, at its declared length or else at the byte that is one too many, or too slow.

    Parameters
    ----------
    app : ASGIApp
    max_bytes : int
        Largest recording; a form around it may weigh `FORM_OVERHEAD_BYTES` more.
    idle_seconds, timeout_seconds : float
        Longest silence in the middle of a body, and longest time for the whole of it.
    draining : callable
        Whether the service is about to end: then connections are not kept.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int,
        idle_seconds: float,
        timeout_seconds: float,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._app = app
        self._limit = max_bytes + FORM_OVERHEAD_BYTES
        self._idle_seconds = idle_seconds
        self._timeout_seconds = timeout_seconds
        self._draining = draining
        self._error = UploadTooLarge(
            f"the recording is larger than {max_bytes} bytes, the most that is accepted here (CCMUSIC_MAX_UPLOAD_BYTES)"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._limit:
            await self._refuse(scope, receive, send)
            return
        body = _Body(receive, self._limit, self._error, self._idle_seconds, self._timeout_seconds)

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and (body.refused or self._draining()):
                message = {**message, "headers": [*message.get("headers", []), _CLOSE]}
            await send(message)

        # The routes' own handlers turn the error into the answer.
        await self._app(scope, body.receive, closing)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem_response(self._error, scope.get("request_id"))
        response.raw_headers.append(_CLOSE)
        await response(scope, receive, send)


class _Body:
    """One request's body, counted and timed as it comes."""

    def __init__(
        self, receive: Receive, limit: int, error: UploadTooLarge, idle_seconds: float, timeout_seconds: float
    ) -> None:
        self._receive = receive
        self._limit = limit
        self._error = error
        self._idle_seconds = idle_seconds
        self._deadline = time.monotonic() + timeout_seconds
        self._received = 0
        self._complete = False
        self.refused = False

    async def receive(self) -> Message:
        if self._complete:  # what still can come is the client's end, and that may take as long as our answer
            return await self._receive()
        seconds = min(self._idle_seconds, max(0.0, self._deadline - time.monotonic()))
        try:
            message = await asyncio.wait_for(self._receive(), seconds)
        except TimeoutError:
            self.refused = True
            raise RequestTooSlow(
                f"the request stopped arriving: nothing for {seconds:.0f} seconds, or not all of it in time"
            ) from None
        self._complete = not message.get("more_body", False)
        self._received += len(message.get("body", b""))
        if self._received > self._limit:
            self.refused = True
            raise self._error
        return message


_CLOSE = (b"connection", b"close")
"""Said where the rest of a body will not be read: else the client would go on sending it."""
