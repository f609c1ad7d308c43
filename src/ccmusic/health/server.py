"""The management port: health endpoints with their own thread, event loop and socket."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from ccmusic.health.check import Check, Observation, failed, passed
from ccmusic.health.connections import OpenConnections, connection_limit
from ccmusic.health.listen import listen

if TYPE_CHECKING:
    import uvicorn

logger = logging.getLogger(__name__)

GRACE_SECONDS = 1
JOIN_SECONDS = 5.0
MAX_CONNECTIONS = 64
HEAD_SECONDS = 10.0


class HealthServer:
    """Answers even while the main event loop is blocked.

    Parameters
    ----------
    health_routes : sequence of BaseRoute
        Those of `routes`, and any others.
    host : str
    port : int
        0: the system chooses one.
    max_connections : int
        At this number, the connection that has been idle for the longest time is closed for a new one.
    head_seconds : float
        A client whose request line and headers do not arrive within this time is disconnected.

    Raises
    ------
    CannotListen
        Listening on the address is impossible.
    """

    def __init__(
        self,
        health_routes: Sequence[BaseRoute],
        host: str,
        port: int,
        max_connections: int = MAX_CONNECTIONS,
        head_seconds: float = HEAD_SECONDS,
    ) -> None:
        self._listener = listen(host, port)
        self.port: int = self._listener.getsockname()[1]
        self._app = Starlette(routes=list(health_routes))
        self._connections = OpenConnections(connection_limit(max_connections))
        self._listener.make_room = self._connections.make_room
        self._head_seconds = head_seconds
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._stopped = False

    def start(self) -> None:
        """Start answering. Does nothing if it runs already."""
        if self._thread is not None:
            return
        import uvicorn  # imported late: the rest of this package works without uvicorn

        from ccmusic.health.http_protocol import ACCEPTED_AT_ONCE, SAFE_HEADERS, limited_protocol

        # No logging configuration: it would replace that of the main server, which uses the same loggers.
        config = uvicorn.Config(
            self._app,
            http=limited_protocol(self._connections, self._head_seconds, access_log=False),
            ws="none",
            loop="asyncio",  # another loop would not use the listener's own `accept`
            backlog=ACCEPTED_AT_ONCE,
            log_config=None,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            headers=list(SAFE_HEADERS),
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, args=(self._server,), name="health-server", daemon=True)
        self._thread.start()

    def check(self, name: str = "management_port") -> Check:
        """A check that fails ``/health`` when this server has ended, although nobody has stopped it.

        Parameters
        ----------
        name : str
        """

        def observe() -> Observation:
            if self._thread is None or self._stopped or self._thread.is_alive():
                return passed(self.port)
            return failed(f"the server on port {self.port} has ended; the log has the cause", self.port, code="ended")

        return Check(name, observe, measurement="port", component_type="system")

    def stop(self) -> None:
        """Stop answering and release the port."""
        self._stopped = True
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(JOIN_SECONDS)
        self._listener.close()

    def _serve(self, server: uvicorn.Server) -> None:
        try:
            server.run(sockets=[self._listener])
        except BaseException:  # uvicorn exits with SystemExit, which a thread would discard silently
            logger.exception("the management port has ended")
