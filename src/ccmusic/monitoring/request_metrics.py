"""Metrics of connections, of the bytes of request bodies, and of HTTP requests by handler, method and status.

Clients cannot increase the number of series.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.routing import BaseRoute, Mount, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE = "page"
"""Handler of all paths of the page: Gradio has about a hundred, some with random names."""
OTHER = "other"
"""Handler of unknown paths, and method of unknown HTTP methods."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Upper bounds in seconds."""
NOT_FOUND = (404, 405)
CLIENT_CLOSED_REQUEST = 499
EVENT_STREAM = b"text/event-stream"


class RequestMetrics:
    """Counter and histogram of HTTP requests.

    Parameters
    ----------
    registry : CollectorRegistry
    expected : iterable of (str, str, int)
        Handler, method and status of the series that exist from the first scrape on.
    """

    def __init__(self, registry: CollectorRegistry, expected: Iterable[tuple[str, str, int]] = ()) -> None:
        self._requests = Counter(
            "http_requests", "Requests answered.", ["handler", "method", "status"], registry=registry
        )
        self._durations = Histogram(
            "http_request_duration_seconds",
            "Time from the head of a request to the end of its answer; for an event stream, to its start.",
            ["handler", "method"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        for handler, method, status in expected:
            self._requests.labels(handler, method, str(status))
            self._durations.labels(handler, method)

    def note(self, handler: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(handler, method, str(status)).inc()
        self._durations.labels(handler, method).observe(seconds)


class ConnectionMetrics:
    """Gauge and counter of the connections of the main port.

    Parameters
    ----------
    registry : CollectorRegistry
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._open = Gauge("ccmusic_open_connections", "Open connections of the main port.", registry=registry)
        self._closed = Counter(
            "ccmusic_connections_closed_for_room",
            "Connections closed because more were open than CCMUSIC_MAX_CONNECTIONS or the descriptors allow.",
            registry=registry,
        )

    def watch(self, connections: Sized) -> None:
        """Read the number of open connections at each scrape."""
        self._open.set_function(lambda: len(connections))

    def note_closed(self, count: int) -> None:
        """Count connections that were closed to make room for others."""
        self._closed.inc(count)


class HeldBytesMetrics:
    """Gauges of the bytes of request bodies that are held, and of the most that may be held.

    Parameters
    ----------
    registry : CollectorRegistry
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._held = Gauge(
            "ccmusic_held_bytes",
            "Bytes of request bodies that are held, in memory and in temporary files.",
            ["place"],
            registry=registry,
        )
        self._most = Gauge(
            "ccmusic_max_held_bytes",
            "Most bytes of request bodies that may be held at present. Beyond it, requests are refused with 503.",
            ["place"],
            registry=registry,
        )

    def watch(self, place: str, held: Callable[[], int], most: Callable[[], int]) -> None:
        """Read the bytes of a place, ``memory`` or ``disk``, at each scrape."""
        self._held.labels(place).set_function(held)
        self._most.labels(place).set_function(most)


class RequestMeter:
    """Outermost middleware, so that requests refused by other middleware are counted too.

    The handler is derived from the path, not from the scope that the router fills: a request that is refused before the
    router would have no handler, and a sub-application would have hundreds.

    Parameters
    ----------
    app : ASGIApp
    metrics : RequestMetrics
    routes : iterable of BaseRoute
        Their path templates are the names of the handlers.
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
        stream_started: float | None = None

        async def counting(message: Message) -> None:
            nonlocal status, stream_started
            if message["type"] == "http.response.start":
                status = message["status"]
                kind = dict(message.get("headers", ())).get(b"content-type", b"")
                if kind.startswith(EVENT_STREAM):
                    stream_started = time.perf_counter()
            await send(message)

        method = scope["method"]
        path = scope["path"].removeprefix(scope.get("root_path", ""))  # read here, because a router changes the prefix
        try:
            await self._app(scope, receive, counting)
        except Exception:
            status = 500
            raise
        except BaseException:  # cancelled: the server stops, or the client has disconnected
            status = CLIENT_CLOSED_REQUEST
            raise
        finally:
            handler = self._handler(path, status)
            known = method if method in METHODS else OTHER
            ended = time.perf_counter() if stream_started is None else stream_started
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
