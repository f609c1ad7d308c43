"""HTTP requests by handler, method and status, with a bounded number of series whatever clients ask for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.routing import BaseRoute, Mount, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE = "page"
"""Handler of everything of the page: Gradio has a hundred paths, some with random names in them."""
OTHER = "other"
"""Handler of what is not there, and method of words that are not HTTP's."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Seconds."""
NOT_FOUND = (404, 405)
CLIENT_CLOSED_REQUEST = 499
EVENT_STREAM = b"text/event-stream"


class RequestMetrics:
    """Counter and histogram of HTTP requests.

    Parameters
    ----------
    registry : CollectorRegistry
    expected : iterable of (str, str, int)
        Handler, method and status of series that are there from the first scrape on.
    """

    def __init__(self, registry: CollectorRegistry, expected: Iterable[tuple[str, str, int]] = ()) -> None:
        self._requests = Counter(
            "http_requests", "Requests answered.", ["handler", "method", "status"], registry=registry
        )
        self._durations = Histogram(
            "http_request_duration_seconds",
            "From a request's head to its answer's end; of an event stream, to its beginning.",
            ["handler", "method"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        for handler, method, status in expected:
            self._requests.labels(handler, method, str(status))
            self._durations.labels(handler, method)

    def note(self, handler: str, method: str, status: int, seconds: float) -> None:
        """Note one answered request."""
        self._requests.labels(handler, method, str(status)).inc()
        self._durations.labels(handler, method).observe(seconds)


class RequestMeter:
    """Middleware around everything else, so that what the edge refuses is counted as well.

    The handler is found from the path and not from what the router leaves in the scope: a request that is refused
    before the router, or a sub-application with routes of its own, would have no handler, or hundreds.

    Parameters
    ----------
    app : ASGIApp
    metrics : RequestMetrics
    routes : iterable of BaseRoute
        Whose templates name the handlers.
    """

    def __init__(self, app: ASGIApp, metrics: RequestMetrics, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._metrics = metrics
        self._literal: set[str] = set()
        self._patterns = []
        for template, is_prefix in _templates(routes):
            if is_prefix or "{" in template:
                pattern, _, _ = compile_path(f"{template}/{{rest:path}}" if is_prefix else template)
                self._patterns.append((pattern, template))
            else:
                self._literal.add(template)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        stream_began: float | None = None

        async def noting(message: Message) -> None:
            nonlocal status, stream_began
            if message["type"] == "http.response.start":
                status = message["status"]
                kind = dict(message.get("headers", ())).get(b"content-type", b"")
                if kind.startswith(EVENT_STREAM):
                    stream_began = time.perf_counter()
            await send(message)

        method = scope["method"]
        path = scope["path"].removeprefix(scope.get("root_path", ""))  # now: a router moves the prefix
        try:
            await self._app(scope, receive, noting)
        except Exception:
            status = 500
            raise
        except BaseException:  # cancelled: the server closes, or the client has
            status = CLIENT_CLOSED_REQUEST
            raise
        finally:
            handler = self._handler(path, status)
            known = method if method in METHODS else OTHER
            ended = time.perf_counter() if stream_began is None else stream_began
            self._metrics.note(handler, known, status, ended - started)

    def _handler(self, path: str, status: int) -> str:
        if path in self._literal:
            return path
        for pattern, template in self._patterns:
            if pattern.match(path):
                return template
        return OTHER if status in NOT_FOUND else PAGE


def _templates(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, bool]]:
    for route in routes:
        path = getattr(route, "path", None)
        if path:
            yield path, isinstance(route, Mount)
