"""The HTTP application, assembled in one visible place."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from ccmusic.health import routes as health_routes
from ccmusic.monitoring.metrics import metrics_route
from ccmusic.monitoring.request_metrics import RequestMeter, RequestMetrics
from ccmusic.serving import admin, oip, routes
from ccmusic.serving.limits import BodyLimit, RequestId
from ccmusic.serving.problems import install_problem_handlers
from ccmusic.serving.service import Service
from ccmusic.settings import Settings
from ccmusic.version import __version__

logger = logging.getLogger(__name__)

AttachPage = Callable[[FastAPI, Service, Settings], AbstractAsyncContextManager[object]]

EXPECTED_ANSWERS = [("/v1/classify", "POST", status) for status in (200, 500, 503, 504, 507)]
"""Series that are there before the first request: else the share of errors would be "no data" until one fails."""


def create_app(settings: Settings, started_at: float | None = None, page: AttachPage | None = None) -> FastAPI:
    """Build the application; the model begins to load when it starts.

    Parameters
    ----------
    settings : Settings
    started_at : float, optional
        When the process began, on the monotonic clock.
    page : callable, optional
        Attaches the page for as long as its context lasts: `ccmusic.ui.mount.page_attached`. Without it, and with the
        setting ``page`` off, the API stands alone.

    Returns
    -------
    FastAPI
    """
    service = Service(settings, started_at)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            if page is None or not settings.page:
                yield
                return
            async with page(app, service, settings):
                yield
        finally:
            await service.stop()

    app = FastAPIOffline(  # /docs would load its script from a foreign network otherwise, and stay blank without one
        redoc_url=None,
        title="CCMusic",
        version=__version__,
        summary="Names a recording's genre: the five likeliest of the 16 ccMusic genres.",
        lifespan=lifespan,
    )
    app.state.service = service
    app.router.routes += [*health_routes(service), metrics_route(service.metrics)]
    routers = (routes.router, oip.router, admin.router)
    for router in routers:
        app.include_router(router)
    install_problem_handlers(app)
    # the last one added is the outermost
    app.add_middleware(
        BodyLimit,
        max_bytes=settings.max_upload_bytes,
        idle_seconds=settings.upload_idle_seconds,
        timeout_seconds=settings.upload_timeout_seconds,
        draining=lambda: service.draining,
    )
    app.add_middleware(RequestId)
    app.add_middleware(
        RequestMeter,
        metrics=RequestMetrics(service.metrics.registry, EXPECTED_ANSWERS),
        routes=[*app.router.routes, *(route for router in routers for route in router.routes)],
    )
    return app
