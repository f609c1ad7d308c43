"""``/health``, ``/startupz``, ``/livez`` and ``/readyz``: a request only reads the snapshot."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from ccmusic.health.accept import preferred
from ccmusic.health.check import PROBES, Probe
from ccmusic.health.formats import health_json, plain, verbose
from ccmusic.health.loop import LoopWatch
from ccmusic.health.snapshot import HealthSnapshot
from ccmusic.health.state import Health

JSON = "application/json"
HEALTH_JSON = "application/health+json"
TEXT = "text/plain"
OFFERS = (JSON, HEALTH_JSON, TEXT)
LONGEST_ACCEPT = 1000
"""Bytes; a longer Accept header is ignored."""

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


class Source(Protocol):
    """An object that provides a snapshot."""

    def snapshot(self) -> HealthSnapshot:
        """The current state."""


def routes(health: Source) -> list[BaseRoute]:
    """The four endpoints, GET and HEAD.

    Parameters
    ----------
    health : Health, or anything with ``snapshot()``
    """
    return [Route(f"/{probe}", _Endpoint(health, probe), methods=["GET", "HEAD"], name=probe) for probe in PROBES]


def install(app: Starlette, health: Health) -> None:
    """Add the four endpoints to a FastAPI or Starlette application.

    Sampling starts and stops with the application, around its own lifespan. The lag of its event loop is checked.

    Parameters
    ----------
    app : Starlette
        Must not run yet.
    health : Health
    """
    app.router.routes[:0] = routes(health)  # first: a page mounted at "/" may match every path
    within, around = app.router.lifespan_context, lifespan(health)

    @asynccontextmanager
    async def both(running: Any) -> AsyncIterator[Any]:
        async with around(running), within(running) as state:
            yield state

    app.router.lifespan_context = both


def lifespan(health: Health) -> Lifespan:
    """Lifespan for an application: samples while it runs and checks the lag of its event loop."""
    loop_watch = LoopWatch()
    health.add(loop_watch.check())

    @asynccontextmanager
    async def running(_: Any) -> AsyncIterator[None]:
        with loop_watch:
            health.start()
            try:
                yield
            finally:
                await asyncio.to_thread(health.stop)

    return running


def app_kwargs(health: Health) -> dict[str, Any]:
    """Arguments for a library that creates its own FastAPI, such as Gradio: ``demo.launch(app_kwargs=...)``."""
    return {"routes": routes(health), "lifespan": lifespan(health)}


class _Endpoint:
    """One probe as a plain ASGI application, without a framework."""

    def __init__(self, health: Source, probe: Probe) -> None:
        self._health = health
        self._probe = probe
        self._rendered: dict[str, tuple[HealthSnapshot, int, dict[str, Any], bytes]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start, body = self._answer(self._health.snapshot(), _wanted(scope))
        await send(start)
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _answer(self, snapshot: HealthSnapshot, content_type: str) -> tuple[dict[str, Any], bytes]:
        """Start of the response and its body; rendered once for each snapshot and second."""
        second = int(time.time())
        known = self._rendered.get(content_type)
        if known is None or known[0] is not snapshot or known[1] != second:
            body = self._render(snapshot, content_type)
            known = (snapshot, second, _response_start(self._passes(snapshot), content_type, len(body)), body)
            self._rendered[content_type] = known
        return known[2], known[3]

    def _passes(self, snapshot: HealthSnapshot) -> bool:
        return snapshot.passes(self._probe)

    def _render(self, snapshot: HealthSnapshot, content_type: str) -> bytes:
        if content_type == TEXT:
            text = verbose(snapshot, self._probe)
        else:
            body = (health_json if content_type == HEALTH_JSON else plain)(snapshot, self._probe)
            text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        # A cause may contain a file name that is not UTF-8; the escape is also valid in JSON.
        return text.encode("utf-8", "backslashreplace")


def _response_start(passes: bool, content_type: str, length: int) -> dict[str, Any]:
    shown = f"{content_type}; charset=utf-8" if content_type == TEXT else content_type
    headers = [
        (b"content-type", shown.encode()),
        (b"content-length", str(length).encode()),
        (b"cache-control", b"no-store"),
        (b"vary", b"accept"),
    ]
    return {"type": "http.response.start", "status": 200 if passes else 503, "headers": headers}


def _wanted(scope: Scope) -> str:
    query: bytes = scope["query_string"]
    if b"verbose" in query and "verbose" in parse_qs(query.decode("latin-1"), keep_blank_values=True):
        return TEXT
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
    return _preferred(accept) if 0 < len(accept) <= LONGEST_ACCEPT else JSON


@lru_cache(maxsize=64)
def _preferred(accept: bytes) -> str:
    return preferred(accept.decode("latin-1"), OFFERS)
