"""Random requests to every operation of the OpenAPI document, made by Schemathesis: no 5xx, no undocumented answer."""

from collections.abc import Iterator

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from ccmusic.serving.app import create_app
from support.running_server import RunningServer, running_server

schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

TOKEN = "secret"
UNWANTED = [checks.positive_data_acceptance]
"""A random file is no recording, and a random text no genre."""
HIDDEN = {"/openapi.json", "/docs", "/docs/oauth2-redirect"}


@pytest.fixture(scope="module")
def server(model_directory, tmp_path_factory) -> Iterator[RunningServer]:
    with running_server(
        "--no-page",
        CCMUSIC_MODEL=str(model_directory),
        CCMUSIC_WORKERS="1",
        CCMUSIC_ADMIN_TOKEN=TOKEN,
        CCMUSIC_MODEL_REPOSITORY=str(tmp_path_factory.mktemp("repository")),
    ) as running:
        running.wait_healthy()
        yield running


def test_every_answer_is_documented_and_no_request_is_an_error_of_the_service(server):
    operations = [
        found.ok() for found in schemathesis.openapi.from_url(f"{server.url}/openapi.json").get_all_operations()
    ]
    assert len(operations) > 25
    for operation in operations:
        send_random_requests(operation)


def send_random_requests(operation) -> None:
    needs_token = operation.path.startswith(("/debug", "/v2/repository"))
    headers = {"Authorization": f"Bearer {TOKEN}"} if needs_token else {}

    @hypothesis.settings(
        max_examples=8,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def check(case):
        case.call_and_validate(headers=headers, excluded_checks=UNWANTED)

    check()


def test_every_route_is_in_the_document(make_settings, server):
    app = create_app(make_settings())
    documented = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    missing = []
    stack = list(app.router.routes)
    while stack:
        route = stack.pop()
        stack += getattr(getattr(route, "original_router", None), "routes", [])
        if isinstance(route, Route | APIRoute) and route.path not in HIDDEN:
            path = route.path.replace(":path", "").replace(":int", "")
            missing += [(path, m) for m in route.methods if m.lower() not in documented.get(path, {})]
    assert missing == []
