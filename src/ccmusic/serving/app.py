"""The HTTP application, assembled in one visible place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from ccmusic import __version__
from ccmusic.serving import probes, routes
from ccmusic.serving.limits import BodyLimit, RequestId
from ccmusic.serving.problems import install_problem_handlers
from ccmusic.serving.service import Service
from ccmusic.settings import Settings

logger = logging.getLogger(__name__)


def create_app(settings: Settings, started_at: float | None = None) -> FastAPI:
    """Build the application; the model begins to load when it starts, and the page follows once Gradio is imported.

    Parameters
    ----------
    settings : Settings
    started_at : float, optional
        When the process began, on the monotonic clock.

    Returns
    -------
    FastAPI
    """
    service = Service(settings, started_at)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            if not settings.page:
                yield
                return
            from ccmusic.ui.mount import page_attached

            async with page_attached(app, service, settings):
                yield
        finally:
            await asyncio.to_thread(service.stop)

    app = FastAPIOffline(  # /docs would load its script from a foreign network otherwise, and stay blank without one
        redoc_url=None,
        title="CCMusic",
        version=__version__,
        summary="Names a recording's genre: the five likeliest of the 16 ccMusic genres.",
        lifespan=lifespan,
    )
    app.state.service = service
    app.include_router(probes.router)
    app.include_router(routes.router)
    install_problem_handlers(app)
    # the last one added is the outermost
    app.add_middleware(BodyLimit, max_bytes=settings.max_upload_bytes)
    app.add_middleware(RequestId)
    return app
