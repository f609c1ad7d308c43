"""What every request meets first: proxies, host names, keys; and the headers of every answer."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from ccmusic.health.connections import Phase
from ccmusic.health.http_protocol import SAFE_HEADERS
from ccmusic.serving.app import create_app
from ccmusic.serving.clients import ApiKeys, Rates
from ccmusic.serving.edge import Edge, TrustedProxies, within_this_service
from ccmusic.serving.limits import client_of_request

KEY = "a-key-that-is-long-enough"
PAGE = "<html><script>start()</script><script src='x.js'></script><script type=module>\nmore()\n</script></html>"


async def echo(request) -> JSONResponse:
    """What the application sees of a request."""
    return JSONResponse(
        {
            "client": request.scope["client_name"],
            "in_context": client_of_request.get(),
            "scheme": request.url.scheme,
            "forwarded": sorted(name for name in request.headers if "forwarded" in name or name == "x-real-ip"),
        },
        headers={"Access-Control-Allow-Origin": "*", "access-control-allow-credentials": "true"},
    )


async def page(request) -> HTMLResponse:
    return HTMLResponse(
        PAGE, headers={"Content-Security-Policy": "default-src 'none'; script-src 'self' 'unsafe-eval'"}
    )


async def redirect(request) -> RedirectResponse:
    return RedirectResponse(f"http://{request.headers['host']}/there?x=1")


async def script(request) -> Response:
    return Response("", media_type="text/javascript")


INNER = Starlette(
    routes=[
        Route("/page", page),
        Route("/redirect", redirect),
        Route("/script.js", script),
        Route("/{rest:path}", echo, methods=["GET", "POST"]),
    ]
)


def client(address: str = "192.0.2.7", *, trusted: str = "", **options: object) -> TestClient:
    """A client of `INNER` with this address."""
    options = {"keys": ApiKeys(None)} | options
    edge = Edge(INNER, proxies=TrustedProxies(trusted), **options)
    return TestClient(edge, "http://music.example", client=(address, 40000), follow_redirects=False)


FORWARDED = {
    "X-Forwarded-For": "198.51.100.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "other.example",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=198.51.100.1",
    "X-Real-IP": "198.51.100.1",
}


def test_the_client_of_a_request_is_its_address():
    seen = client("2001:db8:1:2::3").get("/").json()
    assert seen["client"] == seen["in_context"] == "2001:db8:1:2::/64"


def test_forwarded_headers_are_believed_from_nobody_by_default():
    seen = client().get("/", headers=FORWARDED).json()
    assert seen == {"client": "192.0.2.7", "in_context": "192.0.2.7", "scheme": "http", "forwarded": []}


def test_forwarded_headers_are_believed_from_trusted_proxies():
    behind = client("192.0.2.7", trusted="127.0.0.1, 192.0.2.0/24")
    seen = behind.get("/", headers=FORWARDED).json()
    assert (seen["client"], seen["scheme"]) == ("198.51.100.1", "https")
    assert "x-forwarded-host" in seen["forwarded"]
    chain = behind.get("/", headers={"X-Forwarded-For": "203.0.113.9, 198.51.100.1, 192.0.2.8"}).json()
    assert chain["client"] == "198.51.100.1", "what the client itself has written is not believed"
    assert client("203.0.113.1", trusted="192.0.2.0/24").get("/", headers=FORWARDED).json()["client"] == "203.0.113.1"


def test_a_request_with_two_lengths_is_refused_and_the_connection_closed():
    answer = client().post("/", content=b"0\r\n\r\n", headers={"Content-Length": "5", "Transfer-Encoding": "chunked"})
    assert (answer.status_code, answer.headers["connection"]) == (400, "close")
    assert "Transfer-Encoding" in answer.json()["detail"]


@pytest.mark.parametrize("name", ['evil"><script>', "a/b", "a@b", "", "a b", "[::1", "a:b", "good.example, x/y"])
def test_a_host_that_is_no_name_is_refused(name):
    answer = client().get("/", headers={"Host": name})
    assert answer.status_code == 400
    behind = client(trusted="192.0.2.7").get("/", headers={"X-Forwarded-Host": name or "-/"})
    assert behind.status_code == 400


def test_an_ipv4_client_of_a_socket_for_both_is_an_ipv4_client():
    assert client("::ffff:192.0.2.7").get("/").json()["client"] == "192.0.2.7"
    seen = client("::ffff:192.0.2.7", trusted="192.0.2.7").get("/", headers=FORWARDED).json()
    assert seen["client"] == "198.51.100.1"


def test_which_clients_may_be_a_trusted_proxy():
    proxies = TrustedProxies("192.0.2.0/24, 2001:db8::5")
    names = ("192.0.2.9", "2001:db8::/64", "192.0.3.1", "2001:db8:0:1::/64", "key alice", "")
    assert [proxies.may_be(name) for name in names] == [True, True, False, False, False, False]


def test_a_probe_is_answered_under_every_name():
    for name in ("[fe80::1%25eth0]:7860", "a b", ""):
        assert client(hosts="music.example").get("/readyz", headers={"Host": name}).status_code == 200


@pytest.mark.parametrize("name", ["music.example", "[2001:db8::1]:7860", "192.0.2.1:80", "a_b-c.example:7860"])
def test_any_name_is_accepted_by_default(name):
    assert client().get("/", headers={"Host": name}).status_code == 200


def test_only_trusted_hosts_are_answered_except_probes():
    guarded = client(hosts="music.example, *.example.net")
    for name in ("music.example", "MUSIC.example:7860", "a.example.net"):
        assert guarded.get("/v1/genres", headers={"Host": name}).status_code == 200
    for name in ("example.net", "evilexample.net", "music.example.evil", "10.0.0.1"):
        assert guarded.get("/v1/genres", headers={"Host": name}).status_code == 421
        assert guarded.get("/readyz", headers={"Host": name}).status_code == 200
    behind = client(hosts="music.example", trusted="192.0.2.7")
    assert behind.get("/v1/genres", headers={"X-Forwarded-Host": "evil.example"}).status_code == 421


@pytest.fixture
def keys(tmp_path):
    (tmp_path / "keys").write_text(f"alice {KEY}")
    return ApiKeys(tmp_path / "keys")


def test_a_client_with_a_key_counts_by_its_name(keys):
    keyed = client(keys=keys)
    authorized = {"Authorization": f"Bearer {KEY}"}
    for path in ("/v1/classify", "/v2/models/ccmusic/infer", "/v2/models/m/versions/1/infer"):
        seen = keyed.post(path, headers=authorized).json()
        assert seen["client"] == seen["in_context"] == "key alice"
    assert keyed.post("/v1/classify").json()["client"] == "192.0.2.7"
    assert keyed.post("/v2/repository/models/m/load", headers={"Authorization": "Bearer admin"}).status_code == 200
    answer = keyed.post("/v1/classify", headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.headers["connection"]) == (401, "close")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_recordings_need_a_key_if_keys_are_required(keys):
    required = client(keys=keys, keys_required=True)
    assert required.post("/v1/classify").status_code == 401
    assert required.post("/v1/classify", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    assert required.get("/readyz").status_code == 200
    assert required.get("/v1/genres").status_code == 200


def test_requests_that_gradio_answers_itself_have_a_rate():
    limited = client(page_requests=Rates(3, seconds=1000.0, what="requests"))
    paths = ["/", "/config", "/gradio_api/queue/join", "/gradio_api/run/predict", "/config/"]
    assert [limited.get(path).status_code for path in paths] == [200, 200, 200, 429, 429]
    refused = limited.get("/").headers
    assert int(refused["retry-after"]) > 300
    assert refused["connection"] == "close"
    others = ["/readyz", "/v1/genres", "/assets/a.js", "/gradio_api/file=a.wav", "/gradio_api/heartbeat/a"]
    assert [limited.get(path).status_code for path in others] == [200] * len(others)


def test_no_answer_is_for_scripts_of_other_origins():
    answer = client().get("/", headers={"Origin": "http://evil.example"})
    assert [name for name in answer.headers if name.startswith("access-control")] == []


def test_a_page_may_run_only_its_own_scripts_and_is_shown_in_no_frame():
    headers = client().get("/page").headers
    hashes = {base64.b64encode(hashlib.sha256(text).digest()).decode() for text in (b"start()", b"\nmore()\n")}
    policy = headers["content-security-policy"]
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == hashes
    assert "'unsafe-inline'" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self' ")
    assert policy.endswith("'unsafe-eval'; frame-ancestors 'none'")
    assert headers["x-frame-options"] == "DENY"
    assert headers["permissions-policy"] == "camera=(), geolocation=(), microphone=(self)"
    framed = client(frame_ancestors="https://example.org").get("/page").headers
    assert framed["content-security-policy"].endswith("; frame-ancestors https://example.org")
    assert "x-frame-options" not in framed


def test_a_script_may_start_as_a_worker():
    assert client().get("/script.js").headers["content-security-policy"] == "default-src 'self'"


def test_an_error_that_nothing_has_handled_is_an_answer_with_headers(caplog):
    async def app(scope, receive, send) -> None:
        raise RuntimeError("secret")

    edge = Edge(app, proxies=TrustedProxies(""), keys=ApiKeys(None))
    answer = TestClient(edge).get("/")
    assert (answer.status_code, answer.json()["type"]) == (500, "internal")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in answer.text
    assert "secret" in caplog.text


def test_an_answer_that_has_begun_is_not_begun_again():
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("after the head")

    edge = Edge(app, proxies=TrustedProxies(""), keys=ApiKeys(None))
    with pytest.raises(RuntimeError, match="after the head"):
        TestClient(edge).get("/")


def test_redirects_never_name_the_host_that_the_client_has_sent():
    assert client().get("/redirect", headers={"Host": "evil.example"}).headers["location"] == "/there?x=1"


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("http://evil.example/a/b?c=d", "/a/b?c=d"),
        ("//evil.example/a", "/a"),
        ("http://x//evil.example", "/evil.example"),
        ("http://x/\\evil.example", "/evil.example"),
        ("", "/"),
    ],
)
def test_a_redirect_stays_within_the_service(location, path):
    assert within_this_service(location) == path


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/health", 503),
        ("GET", "/livez", 503),
        ("GET", "/metrics", 200),
        ("GET", "/docs", 200),
        ("GET", "/static-offline-docs/swagger-ui.css", 200),
        ("GET", "/v1/genres", 200),
        ("GET", "/v1/genres/", 404),
        ("GET", "/v1/classify", 405),
        ("GET", "/v2/models/none", 503),
        ("POST", "/v1/classify", 422),
        ("POST", "/v2/repository/models/none/load", 403),
        ("OPTIONS", "/v1/classify", 405),
    ],
)
def test_every_answer_has_the_headers(make_settings, method, path, status):
    answer = TestClient(create_app(make_settings()), follow_redirects=False).request(method, path)
    assert answer.status_code == status
    for name, value in SAFE_HEADERS:
        if name == "content-security-policy":
            assert answer.headers[name].startswith("default-src 'none'")
            assert "frame-ancestors 'none'" in answer.headers[name]
        else:
            assert answer.headers[name] == value
    assert answer.headers.get("location", "/").startswith("/")


@dataclass(eq=False)
class Stub:
    client_name: str
    phase: Phase = Phase.FIRST
    closed: bool = False
    has_unread: bool = False

    def abort(self) -> None:
        self.closed = True


def test_the_limits_of_clients_are_settings(make_settings, tmp_path):
    (tmp_path / "keys").write_text(f"alice {KEY}")
    app = create_app(
        make_settings(
            trusted_hosts="music.example",
            trusted_proxies="192.0.2.0/24",
            frame_ancestors="'self'",
            api_keys_file=tmp_path / "keys",
            api_keys_required=True,
            page_requests_per_second=0.4,
            max_connections_per_client=3,
        )
    )
    outside = TestClient(app, "http://music.example", client=("192.0.2.7", 1))
    assert outside.get("/docs", headers={"Host": "evil.example"}).status_code == 421
    assert outside.get("/docs").headers["content-security-policy"].endswith("frame-ancestors 'self'")
    assert outside.post("/v1/classify", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert outside.post("/v1/classify", headers={"Authorization": f"Bearer {KEY}"}).status_code == 422
    statuses = [outside.get("/", headers={"X-Forwarded-For": f"10.0.0.{n}"}).status_code for n in (1, 1, 1, 2)]
    assert statuses == [404, 404, 429, 404]
    stranger, proxy = [Stub("198.51.100.1") for _ in range(4)], [Stub("192.0.2.9") for _ in range(9)]
    for connection in (*proxy, *stranger):
        app.state.connections.add(connection)
    assert [each.closed for each in stranger] == [True, False, False, False]
    assert not any(each.closed for each in proxy)
