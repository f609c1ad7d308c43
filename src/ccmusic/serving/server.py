"""The listening sockets and the HTTP servers on them."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ccmusic.health import HealthServer, listen
from ccmusic.health import routes as health_routes
from ccmusic.health.addresses import local_address
from ccmusic.health.clock import CLOCK
from ccmusic.health.http_protocol import ACCEPTED_AT_ONCE, HEAD_BYTES, limited_protocol
from ccmusic.monitoring.metrics import metrics_route
from ccmusic.monitoring.service_snapshot import STACK_DUMP_PATH
from ccmusic.process.child_environment import close_memory
from ccmusic.serving.app import AttachPage, create_app
from ccmusic.serving.latest_end import LatestEnd
from ccmusic.serving.notify import notifications
from ccmusic.serving.service import Service
from ccmusic.settings import Settings

logger = logging.getLogger(__name__)

END_SECONDS = 10
"""Time for the last connections to close after the drain."""
STOP_SECONDS = 15
"""Time to stop page and workers after their own limits. Then the process ends, whatever it is doing."""


def serve(
    settings: Settings,
    started_at: float | None = None,
    page: AttachPage | None = None,
    *,
    announce: Callable[[str], None] = print,
    colours: bool | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Parameters
    ----------
    settings : Settings
    started_at : float, optional
        When the process started, on the monotonic clock.
    page : callable, optional
        See `create_app`.
    announce : callable
        Called with each line for standard output: the addresses.
    colours : bool, optional
        Whether the log has colours; by default, if it is shown on a terminal.

    Raises
    ------
    CannotListen
        The server cannot listen on an address.
    OSError
        The system refuses something else.
    """
    # Bound here: uvicorn binds only after everything is loaded, and its exit code does not name the error.
    close_memory()
    with listen(settings.host, settings.port) as listener:
        app = create_app(settings, started_at, page)
        listener.make_room = app.state.connections.make_room
        management = _management(app, settings)
        announce(
            f"CCMusic {'page and API' if settings.page else 'API'}: "
            f"http://{local_address(settings.host, listener.getsockname()[1])}/"
        )
        if management is not None:
            announce(f"CCMusic management: http://{local_address(settings.management_host, management.port)}/")
        config = uvicorn.Config(
            app,
            http=limited_protocol(
                app.state.connections, settings.upload_idle_seconds, send_seconds=settings.send_idle_seconds
            ),
            h11_max_incomplete_event_size=HEAD_BYTES,
            ws="none",
            loop="asyncio",  # another loop would not use the listener's own `accept`
            backlog=ACCEPTED_AT_ONCE,
            log_level=settings.log_level,
            use_colors=colours,
            access_log=settings.log_level == "debug",
            server_header=False,
            proxy_headers=False,  # `Edge` does this: also for what Gradio reads from the headers itself
            root_path=settings.root_path,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=int(settings.drain_seconds) + END_SECONDS,
        )
        try:
            if management is not None:
                management.start()
            server = _Server(config, app)
            with notifications(app.state.service, lambda: server.started):
                _run(server, listener)
        finally:
            if management is not None:
                management.stop()


def _run(server: _Server, listener: socket.socket) -> None:
    try:
        server.run(sockets=[listener])
    except RuntimeError as error:
        if not server.is_ending:
            raise
        # asyncio needs a thread to end its own threads, and at a limit of threads there is none; all else has ended
        logger.warning("the event loop did not end well: %s", error)


def _management(app: FastAPI, settings: Settings) -> HealthServer | None:
    """A server of its own thread, event loop and socket for probes, metrics and stack dumps; None if not configured."""
    if settings.management_port is None:
        return None
    service: Service = app.state.service

    async def stack_dump(request: Any) -> PlainTextResponse:
        text = service.stack_dump(request.path_params["number"])
        return PlainTextResponse(text or "no such stack dump is kept", 404 if text is None else 200)

    routes = [
        *health_routes(service),
        metrics_route(service.metrics),
        Route(f"{STACK_DUMP_PATH}/{{number:int}}", stack_dump),
    ]
    server = HealthServer(routes, settings.management_host, settings.management_port)
    service.health.add(server.check())
    return server


def latest_end_seconds(settings: Settings) -> float:
    """How long after SIGTERM the process ends at the latest, whatever hangs in it."""
    # uvicorn gives the last connections as long as the drain again
    drain_seconds = settings.drain_linger_seconds + 2 * settings.drain_seconds + END_SECONDS
    return drain_seconds + settings.page_stop_seconds + STOP_SECONDS


class _Server(uvicorn.Server):
    """Drains before it stops, and exits with 0.

    At SIGTERM, /readyz returns 503 at once. For a moment the server still accepts requests, because load balancers need
    time to see that. Then it closes the listening sockets, answers the accepted requests, and ends.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self._service: Service = app.state.service
        self._latest_end = LatestEnd(latest_end_seconds(self._service.settings))
        self._drain: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_ending(self) -> bool:
        """Whether the process was told to end."""
        return self._service.draining

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Start, and keep the event loop for the signal handler."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the drain. uvicorn's own handler raises the signal again at the end, but the exit code must be 0."""
        if self._service.draining or self._loop is None:
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = self.should_exit or sig == signal.SIGINT or self._loop is None
            return
        self._service.drain()
        self._latest_end.begin()
        linger_seconds = 0.0 if sig == signal.SIGINT else self._service.settings.drain_linger_seconds
        self._loop.call_soon_threadsafe(self._begin_drain, linger_seconds)

    def _begin_drain(self, linger_seconds: float) -> None:
        self._drain = asyncio.ensure_future(self._drained(linger_seconds))

    async def _drained(self, linger_seconds: float) -> None:
        try:
            await CLOCK.sleep(linger_seconds)
            for server in self.servers:
                server.close()
            await self._service.drained()
            page = getattr(self._app.state, "page", None)
            if page is not None:  # open browser tabs hold event streams, which would delay the end
                page.end_streams()
        finally:  # whatever goes wrong, for example if no thread can be started
            self.should_exit = True
