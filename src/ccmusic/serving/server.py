"""The listening socket and the HTTP server on it."""

from __future__ import annotations

import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from ccmusic.serving.app import create_app
from ccmusic.settings import Settings

BACKLOG = 512
DRAIN_SECONDS = 30


def serve(settings: Settings, started_at: float | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Parameters
    ----------
    settings : Settings
    started_at : float, optional
        When the process began, on the monotonic clock.

    Raises
    ------
    OSError
        The address cannot be listened on.
    """
    # Bound here and not by uvicorn, which would load everything first and then end with an exit code that says nothing.
    with _listen(settings.host, settings.port) as listener:
        port = listener.getsockname()[1]
        shown = "localhost" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104  a comparison
        print(f"CCMusic {'page and API' if settings.page else 'API'}: http://{shown}:{port}/", flush=True)
        app = create_app(settings, started_at)
        config = uvicorn.Config(
            app,
            log_level=settings.log_level,
            access_log=settings.log_level == "debug",
            server_header=False,
            root_path=settings.root_path,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        _Server(config, app).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Ends with 0 when told to stop, and lets go of open browser tabs: their event streams would hold up the drain."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Instead of uvicorn's own, which raises the signal anew after the drain: the exit code shall be 0.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        page = getattr(self._app.state, "page", None)
        if page is not None:
            page.end_streams()


def _listen(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    # With the protocol: without it asyncio leaves Nagle's algorithm on, and an answer on a kept connection waits 40 ms.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)  # at once, so that a second server on this port fails here
    except OSError:
        listener.close()
        raise
    return listener
