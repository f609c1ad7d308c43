"""Attach the page to a server that is already answering, and keep it working.

Importing Gradio takes seconds, and the health endpoints cannot wait for that. So "/" first serves a small page that
refreshes itself. Meanwhile a thread imports Gradio and builds the page, which then replaces the small one. It is the
``default`` of the router, behind the application's own routes, so it can never hide a path of the API.

The page is a promise: while it does not work, ``/health`` fails with the cause, and it is started again with a pause.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import FastAPI

from ccmusic.appearance import LOGO
from ccmusic.monitoring.page_state import PageState, PageStatus
from ccmusic.settings import Settings
from ccmusic.ui.kept_uploads import KeptUploads
from ccmusic.ui.page_slot import HEAD_SCRIPT, PageSlot
from ccmusic.ui.running_page import STUCK_SECONDS, PageFailed, RunningPage, os_error_text, running
from ccmusic.ui.streams import StreamLimit
from ccmusic.ui.upload_directory import KEEP_SECONDS, SWEEP_SECONDS, UploadDirectory
from ccmusic.ui.waiting import ends_within, in_thread, set_within
from ccmusic.ui.waiting_pages import ABSENT_PAGE, FAILED_PAGE

if TYPE_CHECKING:  # this module imports Pillow, which is optional, like Gradio
    from ccmusic.ui.answer import PageService

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_SECONDS = 1.0
"""Pause before the page is started again; it doubles while the page fails."""
LONGEST_RETRY_SECONDS = 30.0
CANCEL_SECONDS = 1.0

ABSENT = "Gradio is not installed: install the extra `page`, or set CCMUSIC_PAGE=false"


@asynccontextmanager
async def page_attached(app: FastAPI, service: PageService, settings: Settings) -> AsyncIterator[PageSlot]:
    """Attach the page while the context is open; enter it in the lifespan of the application.

    It opens at once, and the page follows when it is built. While there is no page, the service is told the cause, and
    the rest of the application works. The context ends within `Settings.page_stop_seconds`, whatever Gradio does.

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
    streams = StreamLimit(settings.max_event_streams, settings.max_event_streams_per_client)
    slot = PageSlot(settings.root_path, streams)
    unmatched = app.router.default
    app.router.default = slot
    app.state.page = slot
    stopping = asyncio.Event()
    page = _Page(slot, service, settings, stopping)
    task = asyncio.create_task(page.keep(), name="ccmusic-page")
    try:
        yield slot
    finally:
        stopping.set()
        if not await ends_within(task, settings.page_stop_seconds):
            logger.error("the page has not ended within %g s: it is abandoned", settings.page_stop_seconds)
            task.cancel()
            await ends_within(task, CANCEL_SECONDS)
        app.router.default = unmatched


class _Page:
    """Starts the page, checks it, and starts it again after a failure, until `stopping` is set."""

    def __init__(self, slot: PageSlot, service: PageService, settings: Settings, stopping: asyncio.Event) -> None:
        self._slot = slot
        self._service = service
        self._settings = settings
        self._stopping = stopping
        self._state = PageState()
        self._opened_at = math.inf

    async def keep(self) -> None:
        """Return when `stopping` is set and Gradio has ended."""
        self._report("starting")
        try:
            await self._keep()
        finally:
            if not self._stopping.is_set():  # without this, the last state would stay
                self._fail(PageFailed("the task that starts it has ended", code="page_failed"))

    async def _keep(self) -> None:
        pause = RETRY_SECONDS
        now = asyncio.get_running_loop().time
        while True:
            self._opened_at = math.inf
            try:
                await self._serve()
            except Exception as error:  # the service must work without the page
                if self._stopping.is_set():
                    logger.exception("the page did not end properly")
                else:
                    self._fail(error)
            if now() - self._opened_at > pause:
                pause = RETRY_SECONDS
            if await set_within(self._stopping, pause):
                return
            pause = min(2 * pause, LONGEST_RETRY_SECONDS)

    async def _serve(self) -> None:
        """Start the page and check it until `stopping` is set."""
        importlib.invalidate_caches()
        if importlib.util.find_spec("gradio") is None:
            raise PageFailed(ABSENT, code="dependency_missing")
        uploads = await self._directory()
        if uploads is None:
            return
        try:
            kept = KeptUploads(uploads.path, self._settings.max_page_bytes, self._settings.max_client_share)
            outer, gradio_app = await self._started(in_thread(_build, self._service, self._settings, uploads))
            if self._stopping.is_set():
                return
            async with running(outer, gradio_app, uploads) as page:
                self._slot.open(gradio_app, kept)
                self._opened_at = asyncio.get_running_loop().time()
                self._report("open")
                try:
                    await self._check(page, kept, uploads)
                finally:
                    self._slot.close()
        finally:
            uploads.release()
            deleting = in_thread(uploads.delete)
            if self._stopping.is_set():
                await ends_within(deleting, STUCK_SECONDS)

    async def _directory(self) -> UploadDirectory | None:
        """The upload directory, as soon as it can be created; None when `stopping` is set."""
        while True:
            try:
                return await self._started(in_thread(UploadDirectory))
            except OSError as error:
                cause = f"its upload directory cannot be created: {os_error_text(error)}"
                self._problem(PageFailed(cause, code="not_writable"))
            if await set_within(self._stopping, self._settings.page_check_seconds):
                return None

    async def _started(self, part: asyncio.Future[T]) -> T:
        """The result of a part of the start. A thread cannot be ended, so there is no second one beside a slow one."""
        if not await ends_within(part, self._settings.page_start_seconds):
            self._fail(
                PageFailed(f"it has not started within {self._settings.page_start_seconds:g} seconds", code="stuck")
            )
        return await part

    async def _check(self, page: RunningPage, kept: KeptUploads, uploads: UploadDirectory) -> None:
        now = asyncio.get_running_loop().time
        sweeping: asyncio.Future[None] | None = None
        swept_at = now()
        while not await set_within(self._stopping, self._settings.page_check_seconds):
            if now() - swept_at > SWEEP_SECONDS and (sweeping is None or sweeping.done()):
                swept_at = now()
                unfinished = self._settings.upload_timeout_seconds
                sweeping = in_thread(kept.sweep, swept_at, KEEP_SECONDS, unfinished, uploads.needed)
            problem = await page.problem()
            if problem is not None:
                self._problem(problem)
            elif self._state.status != "open":
                self._report("open")

    def _problem(self, problem: PageFailed) -> None:
        """A problem that lasts counts as one failure."""
        if str(problem) != self._state.cause:
            self._fail(problem)

    def _fail(self, error: Exception) -> None:
        known = isinstance(error, PageFailed)
        cause = str(error) if known else f"it could not be started: {error or type(error).__name__}"
        code = error.code if isinstance(error, PageFailed) else "page_failed"
        news = cause != self._state.cause
        if code == "dependency_missing":
            self._slot.fail(ABSENT_PAGE, 503 if self._settings.page_is_required else 200)
            self._report("absent", cause, code)
        else:
            self._slot.fail(FAILED_PAGE, 503)
            self._state = replace(self._state, failures=self._state.failures + 1)
            self._report("failed", cause, code)
        if news:
            logger.error("the page does not work: %s", cause, exc_info=None if known else error)

    def _report(self, status: PageStatus, cause: str = "", code: str = "ok") -> None:
        if status == "open":
            logger.info("the page is open")
        self._state = replace(self._state, status=status, cause=cause, code=code)
        self._service.report_page(self._state)


def _build(service: PageService, settings: Settings, uploads: UploadDirectory) -> tuple[FastAPI, Any]:
    """Import Gradio and build the page; takes seconds."""

    async def mount_in_a_loop() -> tuple[FastAPI, Any]:
        return _mount(service, settings, uploads)

    # Without a running event loop, Gradio creates a loop for each of its locks and does not close it.
    return asyncio.run(mount_in_a_loop())


def _mount(service: PageService, settings: Settings, uploads: UploadDirectory) -> tuple[FastAPI, Any]:
    from gradio import mount_gradio_app, routes

    from ccmusic.ui import page
    from ccmusic.ui.guard import harden

    # Gradio reads the variable for it once, at the import. A page that is built again has another directory.
    routes.DEFAULT_TEMP_DIR = str(uploads.path)
    favicon = uploads.path / "favicon.svg"
    favicon.write_text(LOGO.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" '), encoding="utf-8")
    blocks, i18n = page.build_page(service, settings, uploads.path)
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
        show_error=False,  # of others than `gr.Error`, whose texts are meant for people
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        footer_links=["gradio"],  # not "api": its panel asks for the schema of MCP, which is off; /docs says more
        favicon_path=str(favicon),
        i18n=i18n,
        theme=page.theme(),
        css_paths=[page.CSS_PATH],
        head=f"<script>{HEAD_SCRIPT}</script>",
    )
    harden(blocks)
    uploads.need_files()
    gradio_app = outer.routes[-1].app  # type: ignore[attr-defined]
    gradio_app.router.redirect_slashes = False  # to an address with the name of the header Host
    return outer, gradio_app
