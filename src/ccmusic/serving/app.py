"""Assembles the HTTP application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from ccmusic.health import routes as health_routes
from ccmusic.health.connections import OpenConnections, connection_limit
from ccmusic.monitoring.metrics import metrics_route
from ccmusic.monitoring.request_metrics import ConnectionMetrics, HeldBytesMetrics, RequestMeter, RequestMetrics
from ccmusic.serving import admin, oip, routes
from ccmusic.serving.clients import Rates
from ccmusic.serving.edge import Edge, TrustedProxies
from ccmusic.serving.limits import BodyLimit, BodyRules, RequestId
from ccmusic.serving.openapi import complete_document
from ccmusic.serving.page_requests import PageRequests
from ccmusic.serving.problems import install_problem_handlers
from ccmusic.serving.service import Service
from ccmusic.settings import Settings
from ccmusic.version import __version__

logger = logging.getLogger(__name__)

AttachPage = Callable[[FastAPI, Service, Settings], AbstractAsyncContextManager[object]]

PAGE_SECONDS = 5.0
"""A visit of the page sends several requests at once: those of this time may come together."""
EXPECTED_ANSWERS = [("/v1/classify", "POST", status) for status in (200, 500, 503, 504, 507)]
"""Series that exist before the first request: otherwise the share of errors has no data until a request fails."""


def create_app(settings: Settings, started_at: float | None = None, page: AttachPage | None = None) -> FastAPI:
    """Build the application. The model is loaded when the application starts.

    Parameters
    ----------
    settings : Settings
    started_at : float, optional
        When the process started, on the monotonic clock.
    page : callable, optional
        Attaches the page while its context lasts, such as `ccmusic.ui.mount.page_attached`. Without it, or if the
        setting ``page`` is off, there is only the API.

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

    app = FastAPIOffline(  # FastAPI's own /docs loads its script from the internet
        redoc_url=None,
        redirect_slashes=False,  # to an address with the name of the header Host
        title="CCMusic",
        version=__version__,
        summary="Names a recording's genre: the five likeliest of the 16 ccMusic genres.",
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.recordings = service.recordings
    counted = ConnectionMetrics(service.metrics.registry)
    proxies = TrustedProxies(settings.trusted_proxies)
    app.state.connections = OpenConnections(
        connection_limit(settings.max_connections),
        counted.note_closed,
        lambda client: None if proxies.may_be(client) else settings.max_connections_per_client,
    )
    counted.watch(app.state.connections)
    held_bytes = HeldBytesMetrics(service.metrics.registry)
    memory, disk = service.admissions.memory, service.admissions.disk
    held_bytes.watch("memory", lambda: memory.held, memory.total)
    held_bytes.watch("disk", lambda: disk.held, disk.total)
    app.router.routes += [*health_routes(service), metrics_route(service.metrics)]
    routers = (routes.router, oip.router, admin.router)
    for router in routers:
        app.include_router(router)
    install_problem_handlers(app)
    complete_document(app)
    # the last one added is the outermost
    app.add_middleware(PageRequests, max_depth=settings.max_json_depth)
    app.add_middleware(
        BodyLimit,
        rules=BodyRules(settings),
        admissions=service.admissions,
        idle_seconds=settings.upload_idle_seconds,
        timeout_seconds=settings.upload_timeout_seconds,
        draining=lambda: service.draining,
    )
    app.add_middleware(
        Edge,
        proxies=proxies,
        hosts=settings.trusted_hosts,
        keys=service.api_keys,
        keys_required=settings.api_keys_required,
        frame_ancestors=settings.frame_ancestors,
        page_requests=Rates(
            PAGE_SECONDS * settings.page_requests_per_second, seconds=PAGE_SECONDS, what="requests to the page"
        ),
    )
    app.add_middleware(RequestId)
    app.add_middleware(
        RequestMeter,
        metrics=RequestMetrics(service.metrics.registry, EXPECTED_ANSWERS),
        routes=[*app.router.routes, *(route for router in routers for route in router.routes)],
    )
    return app
