"""The place of the page in the application: a waiting page first, then Gradio."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from contextlib import suppress
from hashlib import sha256
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccmusic.ui.answers import CleanAnswers
from ccmusic.ui.kept_uploads import KeptUploads
from ccmusic.ui.streams import StreamLimit
from ccmusic.ui.waiting_pages import STARTING_PAGE

HEAD_SCRIPT = 'document.documentElement.lang=navigator.language||"en"'
"""Gradio adds it to the page when the page has started."""

# Nothing from another origin, also with a later Gradio. The middleware around the application adds the scripts that are
# written in the page. 'unsafe-eval': Gradio's HTML component compiles its template. Inline styles are everywhere.
CONTENT_POLICY = (
    f"default-src 'none'; script-src 'self' 'sha256-{b64encode(sha256(HEAD_SCRIPT.encode()).digest()).decode()}' "
    "'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; base-uri 'self'; "
    "form-action 'self'"
)


class PageSlot:
    """Serves what no route of the application serves: a waiting page first, then Gradio.

    Parameters
    ----------
    root_path : str
        Path prefix under which a reverse proxy serves the application.
    streams : StreamLimit, optional
        How many event streams may be open.
    """

    def __init__(self, root_path: str = "", streams: StreamLimit | None = None) -> None:
        self._root_path = root_path
        self._streams = streams or StreamLimit()
        self._waiting = STARTING_PAGE
        self._status = 200
        self._gradio: Any = None  # Gradio's FastAPI application
        self._ending = False
        self.is_open = asyncio.Event()

    def open(self, gradio_app: ASGIApp, uploads: KeptUploads) -> None:
        """Serve Gradio from now on. Its uploads are noted in `uploads`."""
        self._gradio = gradio_app
        self._clean = CleanAnswers(gradio_app)
        self._uploads = uploads
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
        # The page needs no cookie, and Python's parser of cookies takes the square of their length: 5 s for 60 KB.
        scope = {**scope, "headers": [header for header in scope["headers"] if header[0] != b"cookie"]}
        gradio = self._clean
        async with self._streams.counted(path, scope.get("client_name", "")) as refusal:
            await (refusal or gradio)(scope, receive, _with_headers(self._noting(path, scope, send)))

    def _noting(self, path: str, scope: Scope, send: Send) -> Send:
        """A send that notes the files of a new upload: their paths are the answer."""
        if scope["method"] != "POST" or not path.startswith("/gradio_api/upload"):
            return send
        answer, uploads, client = bytearray(), self._uploads, scope.get("client_name", "")

        async def send_and_note(message: Message) -> None:
            answer.extend(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                with suppress(ValueError):
                    paths = json.loads(answer)
                    if isinstance(paths, list):
                        await asyncio.to_thread(uploads.add, client, paths)
            await send(message)

        return send_and_note

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
            if headers.get("content-type", "").startswith("text/html"):
                headers["Content-Security-Policy"] = CONTENT_POLICY
                headers["Cache-Control"] = "no-store"
        await send(message)

    return send_with_headers
