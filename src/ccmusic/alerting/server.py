"""The bridge's socket and HTTP server."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType

import uvicorn

from ccmusic.alerting.app import create_app
from ccmusic.alerting.settings import BridgeSettings
from ccmusic.health import listen
from ccmusic.health.addresses import local_address

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
        config = uvicorn.Config(
            create_app(settings),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=END_SECONDS,
        )
        _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Replaces uvicorn's handler, which raises the signal again at the end: the exit code must be 0."""
        self.force_exit = self.should_exit
        self.should_exit = True
