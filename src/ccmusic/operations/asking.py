"""A running service, asked from outside as a probe asks it; with the standard library alone."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ccmusic.errors import InvalidParameter

DEFAULT_URL = "http://127.0.0.1:7860"

ASK_SECONDS = 5.0
"""Longest time for one answer of a probe; the contract promises milliseconds."""

Echo = Callable[[str], object]
"""Told what happens, line by line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body, parsed; None where it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def field(self, name: str) -> Any:
        """One field of a JSON object; None where there is none."""
        body = self.json()
        return body.get(name) if isinstance(body, dict) else None


def ask(
    url: str,
    path: str,
    method: str = "GET",
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    timeout_seconds: float = ASK_SECONDS,
) -> Answer:
    """Ask a service over a connection of its own, as a probe does: through no proxy, following no redirect.

    Raises
    ------
    OSError
        No answer came; the text says why.
    InvalidParameter
        The address is not one of HTTP.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidParameter("url", f"is not an address: {error}") from error
    if parts.scheme not in kinds or not host:
        raise InvalidParameter("url", f"must be like {DEFAULT_URL}, unlike {url!r}")
    connection = kinds[parts.scheme](host, port, timeout=max(0.1, timeout_seconds))
    try:
        connection.request(method, parts.path.rstrip("/") + path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except http.client.HTTPException as error:
        raise ConnectionError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()
