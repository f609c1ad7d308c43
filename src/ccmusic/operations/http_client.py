"""Requests to a running service, as a probe makes them; with the standard library alone."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ccmusic.errors import InvalidParameter

REQUEST_SECONDS = 5.0
"""Longest time for the response of a probe; docs/contract.md promises milliseconds."""

Print = Callable[[str], object]
"""Is called with each line that a person should read."""


@dataclass(frozen=True, slots=True)
class Response:
    """Status and body of a response."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Return the parsed body; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def field(self, name: str) -> Any:
        """Return one field of a JSON object; None if there is none."""
        body = self.json()
        return body.get(name) if isinstance(body, dict) else None


def request(
    url: str,
    path: str,
    method: str = "GET",
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    timeout_seconds: float = REQUEST_SECONDS,
) -> Response:
    """Send a request over a new connection. Proxies are not used, and redirects are not followed.

    Raises
    ------
    OSError
        There was no response; the text says why.
    InvalidParameter
        `url` is not an HTTP address.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    connections = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidParameter("url", f"is not an address: {error}") from error
    if parts.scheme not in connections or not host:
        raise InvalidParameter("url", f"must be like http://127.0.0.1:7860, not {url!r}")
    connection = connections[parts.scheme](host, port, timeout=max(0.1, timeout_seconds))
    try:
        connection.request(method, parts.path.rstrip("/") + path, body, headers or {})
        response = connection.getresponse()
        return Response(response.status, response.read())
    except http.client.HTTPException as error:
        raise ConnectionError(f"no HTTP response: {error!r}") from error
    finally:
        connection.close()
