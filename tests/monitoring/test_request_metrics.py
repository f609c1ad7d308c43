"""The meter around a real application, asked over real ASGI."""

import asyncio

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

from ccmusic.monitoring import request_metrics as requests
from ccmusic.monitoring.request_metrics import ConnectionMetrics, HeldBytesMetrics, RequestMeter, RequestMetrics


async def fine(request: Request) -> PlainTextResponse:
    return PlainTextResponse("fine")


async def broken(request: Request) -> PlainTextResponse:
    raise RuntimeError("broken")


async def abandoned(request: Request) -> PlainTextResponse:
    raise asyncio.CancelledError


async def page(scope, receive, send) -> None:
    status = 404 if scope["path"] == "/missing" else 200
    await PlainTextResponse("page", status)(scope, receive, send)


ROUTES = [
    Route("/fine", fine, methods=["GET", "POST"]),
    Route("/broken", broken),
    Route("/abandoned", abandoned),
    Route("/models/{name}", fine),
    Mount("/static", Starlette(routes=[Route("/{file}", fine)])),
]


def counted(*asked: tuple[str, str], root_path: str = "") -> dict:
    registry = CollectorRegistry()

    async def ask() -> None:
        app = Starlette(routes=ROUTES)
        app.router.default = page
        meter = RequestMeter(app, RequestMetrics(registry), ROUTES)
        transport = httpx.ASGITransport(meter, raise_app_exceptions=False, root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            for method, path in asked:
                try:
                    await client.request(method, path)
                except asyncio.CancelledError:
                    assert path == "/abandoned"

    asyncio.run(ask())
    return series(registry, "http_requests_total")


def series(registry: CollectorRegistry, name: str) -> dict:
    return {
        tuple(sample.labels[label] for label in ("handler", "method", "status") if label in sample.labels): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if sample.name == name
    }


@pytest.mark.parametrize(
    ("method", "path", "handler", "status"),
    [
        ("GET", "/fine", "/fine", "200"),
        ("DELETE", "/fine", "/fine", "405"),
        ("GET", "/broken", "/broken", "500"),
        ("GET", "/abandoned", "/abandoned", "499"),
        ("GET", "/models/a", "/models/{name}", "200"),
        ("GET", "/static/x.css", "/static", "200"),
        ("GET", "/gradio_api/upload", "page", "200"),
        ("GET", "/missing", "other", "404"),
    ],
)
def test_a_request_is_counted_once_under_its_template(method, path, handler, status):
    assert counted((method, path)) == {(handler, method, status): 1}


def test_no_client_can_add_series():
    paths = [("GET", f"/models/{i}") for i in range(20)] + [("GET", f"/random/{i}") for i in range(20)]
    methods = [(f"METHOD{i}", "/fine") for i in range(20)]
    assert counted(*paths, *methods) == {
        ("/models/{name}", "GET", "200"): 20,
        ("page", "GET", "200"): 20,
        ("/fine", "other", "405"): 20,
    }


def test_the_prefix_of_a_proxy_is_not_part_of_the_handler():
    assert counted(("GET", "/music/fine"), root_path="/music") == {("/fine", "GET", "200"): 1}


def test_expected_series_exist_from_the_start():
    registry = CollectorRegistry()
    RequestMetrics(registry, [("/fine", "POST", 500)])
    assert series(registry, "http_requests_total") == {("/fine", "POST", "500"): 0}
    assert series(registry, "http_request_duration_seconds_count") == {("/fine", "POST"): 0}


def test_an_event_stream_is_timed_until_its_start(monkeypatch):
    registry = CollectorRegistry()
    now = [0.0]
    monkeypatch.setattr(requests.time, "perf_counter", lambda: now[0])

    async def events():
        yield b"data: 1\n\n"
        now[0] += 100
        yield b"data: 2\n\n"

    def answer(kind: str):
        async def stream(request: Request) -> StreamingResponse:
            return StreamingResponse(events(), media_type=kind)

        return stream

    routes = [Route("/events", answer("text/event-stream")), Route("/download", answer("audio/wav"))]

    async def ask() -> None:
        meter = RequestMeter(Starlette(routes=routes), RequestMetrics(registry), routes)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(meter), base_url="http://test") as client:
            for path in ("/events", "/download"):
                await client.get(path)

    asyncio.run(ask())
    sums = series(registry, "http_request_duration_seconds_sum")
    assert sums == {("/events", "GET"): 0, ("/download", "GET"): 100}


def test_connections_are_counted():
    registry = CollectorRegistry()
    metrics = ConnectionMetrics(registry)
    metrics.watch(["a connection", "another"])
    metrics.note_closed(16)
    assert registry.get_sample_value("ccmusic_open_connections") == 2
    assert registry.get_sample_value("ccmusic_connections_closed_for_room_total") == 16


def test_held_bytes_are_read_at_each_scrape():
    registry = CollectorRegistry()
    held = [7, 100]
    HeldBytesMetrics(registry).watch("memory", lambda: held[0], lambda: held[1])
    for _ in range(2):
        assert registry.get_sample_value("ccmusic_held_bytes", {"place": "memory"}) == held[0]
        assert registry.get_sample_value("ccmusic_max_held_bytes", {"place": "memory"}) == held[1]
        held[:] = 8, 90
