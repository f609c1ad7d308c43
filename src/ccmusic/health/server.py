"""The management port: health on a thread, an event loop and a socket of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from ccmusic.health.listen import listen

if TYPE_CHECKING:
    import uvicorn

logger = logging.getLogger(__name__)

GRACE_SECONDS = 1
JOIN_SECONDS = 5.0


class HealthServer:
    """Answers while the main event loop is blocked.

    Parameters
    ----------
    health_routes : sequence of BaseRoute
        As `routes` makes them, and any others.
    host : str
    port : int
        0 for one that the system chooses.

    Raises
    ------
    OSError
        The address cannot be listened on.
    """

    def __init__(self, health_routes: Sequence[BaseRoute], host: str, port: int) -> None:
        self._listener = listen(host, port)
        self.port: int = self._listener.getsockname()[1]
        self._app = Starlette(routes=list(health_routes))
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to answer; nothing happens where it has begun."""
        if self._thread is not None:
            return
        import uvicorn  # late: whoever has a server of another make needs no uvicorn for the rest of this package

        # No logging configuration: that would replace the one of the main server, which shares its loggers.
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, args=(self._server,), name="health-server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, and give the port back."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(JOIN_SECONDS)
        self._listener.close()

    def _serve(self, server: uvicorn.Server) -> None:
        try:
            server.run(sockets=[self._listener])
        except BaseException:  # uvicorn ends with SystemExit; in a thread nobody would hear of it
            logger.exception("the management port has ended")
