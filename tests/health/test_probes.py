import asyncio
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.testclient import TestClient

from ccmusic.health import Check, Health, HealthSnapshot, app_kwargs, failed, install, routes, warned
from ccmusic.health.check import CheckResult
from support.waiting import wait_until

PROBES = ("health", "startupz", "livez", "readyz")


class Fixed:
    """A source of snapshots that is no Health."""

    def __init__(self, *checks, **fields):
        self.current = HealthSnapshot(service="app", version="1", started=True, checks=checks, **fields)

    def snapshot(self):
        return self.current


def client_of(source):
    return TestClient(Starlette(routes=routes(source)))


RED = CheckResult("disk", frozenset({"health"}), "fail", "no space left", component="disk")


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_probe_that_passes(probe, method):
    answer = client_of(Fixed()).request(method, f"/{probe}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["content-length"]) > 50
    if method == "HEAD":
        assert answer.content == b""
    else:
        assert answer.json()["status"] == "ok"
        assert int(answer.headers["content-length"]) == len(answer.content)


def test_head_sends_no_body():
    sent = []

    async def send(message):
        sent.append(message)

    (route,) = [route for route in routes(Fixed()) if route.path == "/livez"]
    scope = {"type": "http", "method": "HEAD", "query_string": b"", "headers": []}
    asyncio.run(route.app(scope, None, send))
    assert [message.get("body") for message in sent] == [None, b""]


def test_a_probe_that_fails():
    client = client_of(Fixed(RED))
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["message"] == "Health check failed: disk: no space left"
    assert client.head("/health").status_code == 503
    assert [client.get(f"/{probe}").status_code for probe in PROBES] == [503, 200, 200, 200]


def test_other_methods_are_refused():
    answer = client_of(Fixed()).post("/health")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("probe", PROBES)
def test_health_json_on_request(probe):
    answer = client_of(Fixed()).get(f"/{probe}", headers={"Accept": "application/health+json"})
    assert answer.headers["content-type"] == "application/health+json"
    assert answer.headers["vary"] == "accept"
    assert answer.json()["status"] == "pass"


def test_a_warning_is_200_and_a_failure_503_in_health_json():
    headers = {"Accept": "application/health+json"}
    warning = CheckResult("drift", frozenset({"health"}), "warn", "odd", component="drift")
    answer = client_of(Fixed(warning)).get("/health", headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (200, "warn")
    answer = client_of(Fixed(RED)).get("/health", headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (503, "fail")


@pytest.mark.parametrize("query", ["verbose", "verbose=1", "a=b&verbose="])
def test_verbose(query):
    answer = client_of(Fixed(RED)).get(f"/health?{query}", headers={"Accept": "application/health+json"})
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "[-]disk: no space left\nhealth check failed\n"


def test_a_parameter_that_only_contains_verbose_is_ignored():
    assert client_of(Fixed()).get("/health?nonverbose").headers["content-type"] == "application/json"


def test_a_new_snapshot_is_shown_at_once_and_an_old_one_is_not_rendered_again(monkeypatch):
    source = Fixed()
    client = client_of(source)
    assert client.get("/health").status_code == 200
    source.current = Fixed(RED).current
    assert client.get("/health").status_code == 503
    monkeypatch.setattr("ccmusic.health.probes.plain", lambda *_: pytest.fail("rendered again"))
    monkeypatch.setattr("ccmusic.health.probes.time.time", lambda: client_second(client))
    assert client.get("/health").status_code == 503


def client_second(client):
    (route,) = [route for route in client.app.routes if route.path == "/health"]
    return float(route.app._rendered["application/json"][1])


def test_the_timestamp_advances_although_the_snapshot_stays(monkeypatch):
    client = client_of(Fixed())
    monkeypatch.setattr("time.time", lambda: 1000.0)
    assert client.get("/health").json()["timestamp"] == 1000
    monkeypatch.setattr("time.time", lambda: 1001.0)
    assert client.get("/health").json()["timestamp"] == 1001


def test_a_cause_may_contain_any_script_and_any_bytes():
    check = CheckResult("file", frozenset({"health"}), "fail", "模型 \udcff", component="file")
    client = client_of(Fixed(check))
    assert client.get("/health").json()["checks"]["file"]["cause"] == "模型 \udcff"
    assert "模型" in client.get("/health?verbose").text


def test_installed_it_starts_and_stops_with_the_application_around_its_lifespan():
    happened = []

    @asynccontextmanager
    async def own(app):
        happened.append("start")
        yield {"shared": 3}
        happened.append("stop")

    app = FastAPI(lifespan=own)
    health = Health("app", "1")
    health.add(Check("odd", lambda: warned("a bit")))

    @app.get("/{anything}")
    def anything(anything: str):
        return "would hide the probes if they stood behind it"

    install(app, health)
    with TestClient(app) as client:
        assert happened == ["start"]
        assert client.app_state["shared"] == 3
        answer = client.get("/health")
        assert (answer.status_code, answer.json()["warnings"]) == (200, ["odd: a bit"])
        wait_until(lambda: client.get("/health").json()["checks"]["event_loop"].get("unit") == "s", "the loop's lag")
    assert happened == ["start", "stop"]
    assert health._thread is None


def test_arguments_for_a_library_that_creates_the_application():
    health = Health("app", "1")
    health.add(Check("a", lambda: failed("x"), {"readyz"}))
    with TestClient(FastAPI(**app_kwargs(health))) as client:
        assert [client.get(f"/{probe}").status_code for probe in PROBES] == [200, 200, 200, 503]
