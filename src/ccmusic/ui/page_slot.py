"""The place of the page in the application: a waiting page first, then Gradio."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccmusic.ui.waiting_pages import STARTING_PAGE

# Nothing from another origin, also with a later Gradio. Gradio starts with inline scripts.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)


class PageSlot:
    """Serves what no route of the application serves: a waiting page first, then Gradio.

    Parameters
    ----------
    root_path : str
        Path prefix under which a reverse proxy serves the application.
    """

    def __init__(self, root_path: str = "") -> None:
        self._root_path = root_path
        self._waiting = STARTING_PAGE
        self._status = 200
        self._gradio: Any = None  # Gradio's FastAPI application
        self._ending = False
        self.is_open = asyncio.Event()

    def open(self, gradio_app: ASGIApp) -> None:
        """Serve Gradio from now on."""
        self._gradio = gradio_app
        self.is_open.set()
        if self._ending:
            self.end_streams()

    def fail(self, html: str, status: int) -> None:
        """Serve a page that states why there is no other."""
        self._waiting, self._status = html, status

    def close(self) -> None:
        """Serve the waiting page again."""
        self._gradio = None
        self.is_open.clear()

    def end_streams(self) -> None:
        """End the connections of open browser tabs, so that a server that shuts down need not wait for them.

        Call it on the thread of the event loop when the server begins to stop, for example in a signal handler.
        """
        self._ending = True
        if self._gradio is not None:
            self._gradio.stop_event.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise HTTPException(404)
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/")) or "/"
        if self._gradio is None:
            await self._wait(path)(scope, receive, send)
            return
        from ccmusic.ui.guard import is_allowed  # imported late: it imports Gradio, which is loaded by now

        if not is_allowed(path):
            raise HTTPException(404)
        await self._gradio(scope, receive, _with_headers(send))

    def _wait(self, path: str) -> Response:
        if path == "/":
            return HTMLResponse(self._waiting, self._status, {"Cache-Control": "no-store"})
        # requested by a browser tab or a client that was open before a restart
        if path == "/config" or path.startswith("/gradio_api/"):
            headers = {"Cache-Control": "no-store", "Retry-After": "2"}
            return JSONResponse({"detail": "The page is starting."}, 503, headers)
        raise HTTPException(404)


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "same-origin"
            if headers.get("content-type", "").startswith("text/html"):
                headers["Content-Security-Policy"] = CONTENT_POLICY
                headers["Cache-Control"] = "no-store"
        await send(message)

    return send_with_headers
