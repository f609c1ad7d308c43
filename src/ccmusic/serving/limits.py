"""Middleware for every request: a request id, and limits on the size and the speed of its body."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from contextvars import ContextVar
from ipaddress import ip_address, ip_network

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccmusic.errors import UploadTooLarge
from ccmusic.health.clock import CLOCK
from ccmusic.serving.problems import problem_response

REQUEST_ID_HEADER = b"x-request-id"
_ALLOWED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

IPV6_PREFIX_BITS = 64
FORM_OVERHEAD_BYTES = 64 * 1024
"""How many bytes a multipart form may have in addition to the recording."""


client_of_request: ContextVar[str] = ContextVar("client_of_request", default="")
"""The address that sent the present request; empty outside of requests, and for the page, which works on its own tasks.
Behind a proxy, uvicorn takes it from X-Forwarded-For if the proxy is one of FORWARDED_ALLOW_IPS."""


def client_name(client: tuple[str, int] | None) -> str:
    """The name of a client by its address: one client can have every address of an IPv6 network."""
    if client is None:
        return ""
    host = client[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:  # what a trusted proxy has sent
        return host
    if address.version == 4:
        return host
    return str(ip_network((address, IPV6_PREFIX_BITS), strict=False))


class RequestId:
    """Give each request an id, and repeat it in the response. Also notes who sent it.

    The client's own id is used if it has only letters, digits, dots, hyphens and underscores; otherwise a random one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        requested = dict(scope["headers"]).get(REQUEST_ID_HEADER, b"").decode("latin-1")
        request_id = requested if _ALLOWED_ID.fullmatch(requested) else secrets.token_hex(8)
        scope["request_id"] = request_id
        client_of_request.set(client_name(scope.get("client")))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), (REQUEST_ID_HEADER, request_id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_id)


class RequestTooSlow(HTTPException):
    """The client did not send its request in time: 408."""

    def __init__(self, detail: str) -> None:
        super().__init__(408, detail)


class BodyLimit:
    """Refuse a body that is too large or arrives too slowly.

    A declared length that is too large is refused at once; otherwise reading stops at the first byte over the limit.

    Parameters
    ----------
    app : ASGIApp
    max_bytes : int
        Largest recording. The body may have `FORM_OVERHEAD_BYTES` more, for a multipart form.
    idle_seconds, timeout_seconds : float
        Longest pause within a body, and longest time for the whole body.
    draining : callable
        Whether the service is shutting down; connections are then closed after the response.
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
            f"the recording is larger than the limit of {max_bytes} bytes (CCMUSIC_MAX_UPLOAD_BYTES)"
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

        # An error raised by body.receive becomes a response in the exception handlers of the application.
        await self._app(scope, body.receive, closing)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem_response(self._error, scope.get("request_id"))
        response.raw_headers.append(_CLOSE)
        await response(scope, receive, send)


class _Body:
    """The body of one request, counted and timed as it arrives."""

    def __init__(
        self, receive: Receive, limit: int, error: UploadTooLarge, idle_seconds: float, timeout_seconds: float
    ) -> None:
        self._receive = receive
        self._limit = limit
        self._error = error
        self._idle_seconds = idle_seconds
        self._deadline = CLOCK.now() + timeout_seconds
        self._received = 0
        self._complete = False
        self.refused = False

    async def receive(self) -> Message:
        if self._complete:  # only the disconnect is left, which may come as late as our response
            return await self._receive()
        seconds = min(self._idle_seconds, max(0.0, self._deadline - CLOCK.now()))
        message = await self._next(CLOCK.now() + seconds)
        if message is None:
            self.refused = True
            raise RequestTooSlow(
                f"the request body arrived too slowly: no data for {seconds:.0f} seconds, or not complete in time"
            )
        self._complete = not message.get("more_body", False)
        self._received += len(message.get("body", b""))
        if self._received > self._limit:
            self.refused = True
            raise self._error
        return message

    async def _next(self, deadline: float) -> Message | None:
        """The next message; None if there is none until a moment on the clock of this process."""
        while True:
            try:
                return await asyncio.wait_for(self._receive(), max(0.0, deadline - CLOCK.now()))
            except TimeoutError:
                if CLOCK.now() >= deadline:
                    return None


_CLOSE = (b"connection", b"close")
"""Sent when the rest of a body is not read; otherwise the client would continue to send it."""
