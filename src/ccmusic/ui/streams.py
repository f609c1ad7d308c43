"""How many event streams of the page may be open: each is a connection and a task for as long as the client likes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.responses import JSONResponse

_STREAMS = re.compile(r"/gradio_api/(heartbeat/.+|queue/data/?|call/.+/.+|upload_progress/?)")
RETRY_SECONDS = 10


class StreamLimit:
    """Counts open streams. Belongs to the event loop.

    Parameters
    ----------
    most : int
        Of all clients.
    most_per_client : int
    """

    def __init__(self, most: int = 300, most_per_client: int = 50) -> None:
        self._most = most
        self._most_per_client = most_per_client
        self._open: Counter[str] = Counter()

    @asynccontextmanager
    async def counted(self, path: str, client: str) -> AsyncIterator[JSONResponse | None]:
        """Count the request while it lasts, if it is for a stream; yields a refusal if there are too many.

        A refused stream is not tried again by browsers, so open tabs do not take each other's place.
        """
        if _STREAMS.fullmatch(path) is None:
            yield None
            return
        if self._open.total() >= self._most or self._open[client] >= self._most_per_client:
            headers = {"Retry-After": str(RETRY_SECONDS)}
            yield JSONResponse({"detail": "Too many event streams are open."}, 429, headers)
            return
        self._open[client] += 1
        try:
            yield None
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]
