"""Attach the page to a server that is already answering.

Importing Gradio takes seconds, and the health endpoints cannot wait for that. So "/" first serves a small page that
refreshes itself. Meanwhile a thread imports Gradio and builds the page, which then replaces the small one. It is the
``default`` of the router, behind the application's own routes, so it can never hide a path of the API.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccmusic.settings import Settings
from ccmusic.ui.texts import TITLE

if TYPE_CHECKING:  # this module imports Pillow, which is optional, like Gradio
    from ccmusic.ui.answer import PageService

logger = logging.getLogger(__name__)

UPLOADS_PREFIX = "ccmusic-page-"

# Nothing from another origin, also with a later Gradio. Gradio starts with inline scripts.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)

_SHELL = """<!doctype html>
<html lang="zh"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
{head}<link rel="icon" href="data:,"><title>{title}</title><style>
body{{margin:0;min-height:100vh;display:grid;place-items:center;font:16px/1.6 system-ui,"Noto Sans CJK SC",sans-serif;
color:#1e1b2e;background:#f6f4fb}}main{{text-align:center;padding:2rem}}h1{{font-size:1.4rem;margin:0 0 1rem}}
a{{color:#7c3aed}}.bars{{display:flex;gap:6px;justify-content:center;height:40px;align-items:center;margin-bottom:1.5rem}}
.bars i{{width:7px;height:12px;border-radius:4px;background:#b73779;animation:b 1s infinite ease-in-out alternate}}
.bars i:nth-child(2){{animation-delay:.2s}}.bars i:nth-child(3){{animation-delay:.4s}}
.bars i:nth-child(4){{animation-delay:.6s}}
@keyframes b{{to{{height:38px;background:#fe9f6d}}}}
@media(prefers-color-scheme:dark){{body{{color:#eee;background:#14101f}}a{{color:#c4a5ff}}}}
@media(prefers-reduced-motion:reduce){{.bars i{{animation:none}}}}
</style></head><body><main>{body}<p><a href="docs">API</a> · <a href="health">Health</a></p></main></body></html>
"""

STARTING_PAGE = _SHELL.format(
    head='<meta http-equiv="refresh" content="1">',
    title=TITLE,
    body=f'<div class="bars"><i></i><i></i><i></i><i></i></div><h1>{TITLE}</h1>'
    "<p>The page is starting and will appear here automatically.<br>页面正在启动，稍后会自动显示。</p>",
)
ABSENT_PAGE = _SHELL.format(
    head="",
    title=TITLE,
    body=f"<h1>{TITLE}</h1><p>This service runs without the web page: the extra <code>page</code> is not installed.<br>"
    "此服务未安装网页界面：缺少附加组件 <code>page</code>。</p>",
)
FAILED_PAGE = _SHELL.format(
    head='<meta http-equiv="refresh" content="30">',
    title=TITLE,
    body=f"<h1>{TITLE}</h1><p>The page could not be started; the log has the cause. The API works without it.<br>"
    "页面启动失败，原因请查看日志。API 不受影响。</p>",
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
        self.is_open = asyncio.Event()

    def open(self, gradio_app: ASGIApp) -> None:
        """Serve Gradio from now on."""
        self._gradio = gradio_app
        self.is_open.set()

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


@asynccontextmanager
async def page_attached(app: FastAPI, service: PageService, settings: Settings) -> AsyncIterator[PageSlot]:
    """Attach the page while the context is open; enter it in the lifespan of the application.

    It opens at once, and the page follows when it is built. If the page cannot be built, the error is logged and the
    rest of the application works without it.

    Parameters
    ----------
    app : FastAPI
    service : PageService
        The running service.
    settings : Settings

    Yields
    ------
    PageSlot
        Also in ``app.state.page``.
    """
    slot = PageSlot(settings.root_path)
    unmatched = app.router.default
    app.router.default = slot
    app.state.page = slot
    stopping = asyncio.Event()
    task = asyncio.create_task(_keep_page(slot, service, settings, stopping), name="ccmusic-page")
    try:
        yield slot
    finally:
        stopping.set()
        await task
        app.router.default = unmatched


async def _keep_page(slot: PageSlot, service: PageService, settings: Settings, stopping: asyncio.Event) -> None:
    """Build the page, run Gradio's start-up and shutdown around it once, and remove the uploads at the end."""
    if importlib.util.find_spec("gradio") is None:
        logger.info("gradio is not installed: the service has no page, only the API")
        slot.fail(ABSENT_PAGE, 200)
        return
    try:
        with _upload_directory() as uploads:
            outer, gradio_app = await asyncio.to_thread(_build, service, settings, uploads)
            # The lifespan of the application has already started, so Gradio's runs here, in an application of its own.
            async with outer.router.lifespan_context(outer):
                gradio_app.startup_events_triggered = True
                slot.open(gradio_app)
                logger.info("the page is open")
                await stopping.wait()
                slot.end_streams()
                slot.close()
                gradio_app.get_blocks().close(verbose=False)
    except Exception:  # the service must work without the page
        logger.exception("the page could not be started")
        slot.fail(FAILED_PAGE, 503)


def _build(service: PageService, settings: Settings, uploads: Path) -> tuple[FastAPI, Any]:
    """Import Gradio and build the page; takes seconds."""

    async def mount_in_a_loop() -> tuple[FastAPI, Any]:
        return _mount(service, settings, uploads)

    # Without a running event loop, Gradio creates a loop for each of its locks and does not close it.
    return asyncio.run(mount_in_a_loop())


def _mount(service: PageService, settings: Settings, uploads: Path) -> tuple[FastAPI, Any]:
    from gradio import mount_gradio_app

    from ccmusic.ui import cards, page
    from ccmusic.ui.guard import harden

    favicon = uploads / "favicon.svg"
    favicon.write_text(cards.LOGO.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" '), encoding="utf-8")
    blocks, i18n = page.build_page(service, settings, uploads)
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mount_gradio_app(
        outer,
        blocks,
        path="/",
        server_port=settings.port,
        root_path=settings.root_path or None,
        allowed_paths=[],
        blocked_paths=[],
        max_file_size=settings.max_upload_bytes,
        show_error=True,
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        footer_links=["api", "gradio"],
        favicon_path=str(favicon),
        i18n=i18n,
        theme=page.theme(),
        css_paths=[page.CSS_PATH],
        head='<script>document.documentElement.lang=navigator.language||"en"</script>',
    )
    harden(blocks)
    return outer, outer.routes[-1].app  # type: ignore[attr-defined]


@contextmanager
def _upload_directory() -> Iterator[Path]:
    """Create a directory for the uploads of this process, and delete it at the end.

    Directories that killed processes have left are deleted first.
    """
    parent = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{UPLOADS_PREFIX}*"):
        _remove_if_ownerless(left)
    directory = Path(tempfile.mkdtemp(prefix=UPLOADS_PREFIX, dir=parent))
    before = os.environ.get("GRADIO_TEMP_DIR")
    lock = os.open(directory, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel releases it when this process ends, however it ends
    os.environ["GRADIO_TEMP_DIR"] = str(directory)  # Gradio reads it for each component and each upload
    try:
        yield directory
    finally:
        if before is None:
            del os.environ["GRADIO_TEMP_DIR"]
        else:
            os.environ["GRADIO_TEMP_DIR"] = before
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _remove_if_ownerless(directory: Path) -> None:
    with suppress(OSError):  # it belongs to another user, is in use, or was just deleted
        lock = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(lock)
