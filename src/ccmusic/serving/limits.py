"""The edge: an id for every request, and no more bytes than allowed from any of them."""

from __future__ import annotations

import re
import secrets

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


class BodyLimit:
    """Refuse a body that is too large: at its declared length, and else at the byte that is one too many.

    Parameters
    ----------
    app : ASGIApp
    max_bytes : int
        Largest recording; a form around it may weigh `FORM_OVERHEAD_BYTES` more.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._limit = max_bytes + FORM_OVERHEAD_BYTES
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
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise self._error
            return message

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and received > self._limit:
                message = {**message, "headers": [*message.get("headers", []), _CLOSE]}
            await send(message)

        # The routes' own handlers turn the error into the answer.
        await self._app(scope, counted, closing)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem_response(self._error, scope.get("request_id"))
        response.raw_headers.append(_CLOSE)
        await response(scope, receive, send)


_CLOSE = (b"connection", b"close")
"""Said where the rest of a body will not be read: else the client would go on sending it."""
