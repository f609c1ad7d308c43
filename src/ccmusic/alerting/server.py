"""The bridge's socket and HTTP server."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from ccmusic.alerting.app import create_app
from ccmusic.alerting.settings import BridgeSettings
from ccmusic.health import listen
from ccmusic.health.addresses import local_address
from ccmusic.health.connections import OpenConnections, connection_limit
from ccmusic.health.http_protocol import ACCEPTED_AT_ONCE, limited_protocol
from ccmusic.health.listen import Listener

HEAD_SECONDS = 10.0
"""Time for a request's line and headers; the body has a limit of its own in `app`."""
MAX_CONNECTIONS = 256
"""Alertmanager opens one for each group of alerts that it sends at the same time."""
MAX_CONNECTIONS_PER_CLIENT = 128
"""So that a stranger who opens all of them cannot keep Alertmanager out."""
END_SECONDS = 5
"""After SIGTERM, for messages that are being sent. Alertmanager retries a notification without an answer."""


def serve(settings: BridgeSettings, announce: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Parameters
    ----------
    settings : BridgeSettings
    announce : callable
        Called with the line for standard output: the address.

    Raises
    ------
    CannotListen
        Listening on the address is impossible.
    """
    with listen(settings.host, settings.port) as listener:
        announce(f"CCMusic WeCom bridge: http://{local_address(settings.host, listener.getsockname()[1])}/")
        bridge_server(create_app(settings), listener).run(sockets=[listener])


def bridge_server(app: Starlette, listener: Listener) -> uvicorn.Server:
    """The server of the bridge: a stranger who opens connections and sends nothing keeps no alert out."""
    connections = OpenConnections(connection_limit(MAX_CONNECTIONS), limit_of=lambda _: MAX_CONNECTIONS_PER_CLIENT)
    listener.make_room = connections.make_room
    config = uvicorn.Config(
        app,
        http=limited_protocol(connections, HEAD_SECONDS),
        ws="none",
        loop="asyncio",  # another loop would not use the listener's own `accept`
        backlog=ACCEPTED_AT_ONCE,
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=END_SECONDS,
    )
    return _Server(config)


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Replaces uvicorn's handler, which raises the signal again at the end: the exit code must be 0."""
        self.force_exit = self.should_exit
        self.should_exit = True
