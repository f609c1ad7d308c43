"""What may be sent to Gradio's own routes: small, flat JSON of the form that the page and Gradio's clients send.

Gradio walks through each value several times in Python on the event loop, repeats values in its errors, and answers
what it does not expect with an internal error. So its routes get nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccmusic.errors import InvalidParameter, UploadTooLarge
from ccmusic.serving.bounded_json import parse_json
from ccmusic.serving.problems import problem_response

PREFIX = "/gradio_api/"
UPLOAD = re.compile(r"/gradio_api/upload/?")
FREE_FORM = re.compile(r"/gradio_api/call/v2/.+")
"""The names of the arguments are the fields."""

MAX_TEXT = 4096
"""Most characters of a text: the longest that the page sends is the path of an upload."""
MAX_VALUES = 500
MAX_QUERY_BYTES = 2048
MAX_PATH_BYTES = 2048

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _is_name(value: Any) -> bool:
    return value is None or (isinstance(value, str) and _NAME.fullmatch(value) is not None)


def _is_number(value: Any) -> bool:
    return value is None or (type(value) is int and abs(value) < 2**31)


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "data": lambda value: isinstance(value, list),
    "session_hash": _is_name,
    "event_id": _is_name,
    "fn_index": _is_number,
    "trigger_id": _is_number,
    "batched": lambda value: not value,
    "simple_format": lambda value: isinstance(value, bool),
    "event_data": lambda value: True,
    "oauth_token": lambda value: value is None,
}


class PageRequests:
    """Check requests to the routes of Gradio before it gets them.

    Parameters
    ----------
    app : ASGIApp
    max_depth : int
        Most lists and objects within each other.
    """

    def __init__(self, app: ASGIApp, max_depth: int) -> None:
        self._app = app
        self._max_depth = max_depth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", "").rstrip("/"))
        if scope["type"] != "http" or not path.startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        try:
            _check_address(path, scope["query_string"])
            if scope["method"] == "POST" and not UPLOAD.fullmatch(path):
                receive = _replayed(await self._checked(path, receive), receive)
        except (InvalidParameter, UploadTooLarge) as error:
            await problem_response(error, scope.get("request_id"))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _checked(self, path: str, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                break
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        value = parse_json(bytes(body), MAX_VALUES, self._max_depth)
        check(value, fields=None if FREE_FORM.fullmatch(path) else _FIELDS)
        return bytes(body)


def _check_address(path: str, query: bytes) -> None:
    if len(query) > MAX_QUERY_BYTES or len(path) > MAX_PATH_BYTES or _CONTROL.search(path):
        raise InvalidParameter("request", "has an address that the page does not use")


def check(value: Any, fields: dict[str, Callable[[Any], bool]] | None = _FIELDS) -> None:
    """Refuse JSON that neither the page nor Gradio's clients send.

    Raises
    ------
    InvalidParameter
    """
    if not isinstance(value, dict):
        raise InvalidParameter("request", "must be a JSON object")
    for name, field in value.items():
        if fields is not None and not fields.get(name, lambda _: False)(field):
            raise InvalidParameter("request", f"has a field that the page does not send: {name[:64]!r}")
    for text in _texts(value):
        if len(text) > MAX_TEXT:
            raise InvalidParameter("request", f"has a text of more than {MAX_TEXT} characters")
        if _CONTROL.search(text):
            raise InvalidParameter("request", "has control characters in a text")


def _texts(value: Any) -> list[str]:
    """Every text and every key in a value."""
    texts, left = [], [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            texts.append(each)
        elif isinstance(each, dict):
            texts += each
            left += each.values()
        elif isinstance(each, list):
            left += each
    return texts


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A receive that gives a body that was read before, and then what follows."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again
