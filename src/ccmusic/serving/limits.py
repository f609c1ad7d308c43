"""Middleware for every request: a request id, and limits on the size and the speed of its body."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NoReturn

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccmusic.errors import Overloaded, UploadTooLarge
from ccmusic.health.clock import CLOCK
from ccmusic.serving.admission import Admission, Admissions
from ccmusic.serving.oip_tensors import HEADER_LENGTH, JSON_TOO_LARGE, MAX_JSON_BYTES
from ccmusic.serving.problems import refusal_response
from ccmusic.settings import Settings

REQUEST_ID_HEADER = b"x-request-id"
_ALLOWED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

FORM_OVERHEAD_BYTES = 64 * 1024
"""How many bytes a multipart form may have in addition to the recording."""
STEP_BYTES = 256 * 1024
"""A body whose length is not declared is admitted in steps of this size."""


client_of_request: ContextVar[str] = ContextVar("client_of_request", default="")
"""The name of the client that sent the present request (`ccmusic.serving.edge`); empty outside of requests, and for the
page, which works on its own tasks and finds it in the scope of the request, as ``client_name``."""


class RequestId:
    """Give each request an id, and repeat it in the response.

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


@dataclass(frozen=True, slots=True)
class BodyRule:
    """How large the body of a request may be, and where it is received.

    Attributes
    ----------
    max_bytes : int
    error : UploadTooLarge
        The refusal of a larger one.
    memory_bytes : int or None
        See `Admission`.
    """

    max_bytes: int
    error: UploadTooLarge
    memory_bytes: int | None = None


_RECORDING = re.compile(r"/(v1/classify|v2/models/[^/]+(/versions/[^/]+)?/infer|gradio_api/upload)/?")


class BodyRules:
    """The rule for each request, by its path and headers.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        largest = settings.max_upload_bytes
        error = UploadTooLarge(
            f"the recording is larger than the limit of {largest} bytes (CCMUSIC_MAX_UPLOAD_BYTES); send a shorter or "
            "compressed version"
        )
        self._recording = BodyRule(largest + FORM_OVERHEAD_BYTES, error, settings.upload_memory_bytes)
        self._page_upload = BodyRule(largest + FORM_OVERHEAD_BYTES, error, 0)  # Gradio writes it to the disk itself
        self._tensors = BodyRule(
            MAX_JSON_BYTES,
            UploadTooLarge(JSON_TOO_LARGE),
        )
        largest = settings.max_request_bytes
        error = UploadTooLarge(f"this request is larger than the limit of {largest} bytes (CCMUSIC_MAX_REQUEST_BYTES)")
        self._other = BodyRule(largest, error)

    def of(self, path: str, headers: Mapping[bytes, bytes]) -> BodyRule:
        """The rule for a request to this path."""
        if (found := _RECORDING.fullmatch(path)) is None:
            return self._other
        if found[1] == "gradio_api/upload":
            return self._page_upload
        if found[1] == "v1/classify" or HEADER_LENGTH.lower().encode() in headers:
            return self._recording
        return self._tensors


class BodyLimit:
    """Refuse a body that is too large, arrives too slowly, or for which there is no room at present.

    A declared length that is too large is refused at once; otherwise reading stops at the first byte over the limit.
    What the request may hold is the `Admission` in ``scope["admission"]``.

    Parameters
    ----------
    app : ASGIApp
    rules : BodyRules
    admissions : Admissions
    idle_seconds, timeout_seconds : float
        Longest pause within a body, and longest time for the whole body.
    draining : callable
        Whether the service is shutting down; connections are then closed after the response.
    """

    def __init__(
        self,
        app: ASGIApp,
        rules: BodyRules,
        admissions: Admissions,
        idle_seconds: float,
        timeout_seconds: float,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._app = app
        self._rules = rules
        self._admissions = admissions
        self._idle_seconds = idle_seconds
        self._timeout_seconds = timeout_seconds
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        rule = self._rules.of(path, headers)
        admission = Admission(self._admissions, client_of_request.get(), rule.memory_bytes)
        scope["admission"] = admission
        body = _Body(receive, rule, admission, self._idle_seconds, self._timeout_seconds)
        started = False

        async def answering(message: Message) -> None:
            nonlocal started
            if not started and body.refusal is not None and message.get("status", 500) >= 500:
                return  # Gradio makes an internal error of a refusal; it is answered below
            if message["type"] == "http.response.start":
                started = True
                if body.refusal is not None or self._draining():
                    message = {**message, "headers": [*message.get("headers", []), _CLOSE]}
            await send(message)

        try:
            body.expect(headers)
            # An error raised by body.receive becomes a response in the exception handlers of the application.
            await self._app(scope, body.receive, answering)
        except Exception:
            if body.refusal is None or started:
                raise
        finally:
            admission.release()
        if body.refusal is not None and not started:
            response = refusal_response(body.refusal, scope.get("request_id"), path)
            response.raw_headers.append(_CLOSE)
            await response(scope, receive, send)


class _Body:
    """The body of one request, admitted before it is read, and counted and timed as it arrives."""

    def __init__(
        self, receive: Receive, rule: BodyRule, admission: Admission, idle_seconds: float, timeout_seconds: float
    ) -> None:
        self._receive = receive
        self._rule = rule
        self._admission = admission
        self._idle_seconds = idle_seconds
        self._deadline = CLOCK.now() + timeout_seconds
        self._received = 0
        self._complete = False
        self._is_declared = False
        self.refusal: Exception | None = None

    def expect(self, headers: Mapping[bytes, bytes]) -> None:
        """Admit what the head of the request declares.

        Raises
        ------
        UploadTooLarge, Overloaded
        """
        declared = headers.get(b"content-length", b"")
        if declared.isdigit():
            if int(declared[:20]) > self._rule.max_bytes:
                self._refuse(self._rule.error)
            self._is_declared = True
            self._admit(int(declared))
        elif b"transfer-encoding" not in headers:
            self._complete = not declared

    async def receive(self) -> Message:
        if self._complete:  # only the disconnect is left, which may come as late as our response
            return await self._receive()
        if not self._is_declared:
            self._admit(min(self._received + STEP_BYTES, self._rule.max_bytes))
        seconds = min(self._idle_seconds, max(0.0, self._deadline - CLOCK.now()))
        message = await self._next(CLOCK.now() + seconds)
        if message is None:
            self._refuse(
                RequestTooSlow(
                    f"the request body arrived too slowly: no data for {seconds:.0f} seconds, or not complete in time"
                )
            )
        self._complete = not message.get("more_body", False)
        self._received += len(message.get("body", b""))
        if self._received > self._rule.max_bytes:
            self._refuse(self._rule.error)
        return message

    def _admit(self, count: int) -> None:
        try:
            self._admission.admit(count)
        except Overloaded as error:
            self._refuse(error)

    def _refuse(self, error: Exception) -> NoReturn:
        self.refusal = error
        raise error

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
