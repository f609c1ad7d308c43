"""The admin calls: who can make them, and what they answer."""

import asyncio

import httpx
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from ccmusic.errors import ModelFileNotFound, ModelRefused, SwapInProgress
from ccmusic.models.card import CARD_NAME, read_card
from ccmusic.serving.app import create_app
from ccmusic.workers.faults import FAULTS
from ccmusic.workers.swap import SwapReport
from support.bands_model import band_network, write_model
from support.running_server import running_server
from support.waiting import wait_until

TOKEN = "a-tökén"  # not ASCII on purpose
BEARER = {"Authorization": f"Bearer {TOKEN}".encode()}
EVERY_CALL = [
    ("POST", "/v2/repository/models/later/load"),
    ("POST", "/v2/repository/models/later/unload"),
    ("GET", "/debug/stack-dumps/1"),
    ("GET", "/debug/faults"),
    ("POST", "/debug/faults/kill"),
    ("DELETE", "/debug/faults"),
    ("POST", "/debug/restart-workers"),
]
REPORT = SwapReport("bands 0.0.1", "later 0.0.2", 5, 1.0, 1.1, 2.5)


class Stub:
    """Records its calls."""

    def __init__(self, settings, load=REPORT) -> None:
        self.settings = settings
        self._load = load
        self.calls = []

    async def load_model(self, name):
        self.calls.append(("load", name))
        if isinstance(self._load, Exception):
            raise self._load
        return self._load

    def stack_dump(self, number):
        return "Thread 1" if number == 1 else None

    async def inject(self, fault, worker=0, size=None):
        self.calls.append(("inject", fault, worker, size))
        return {"fault": fault}

    def clear_faults(self):
        self.calls.append(("clear",))

    def restart_workers(self):
        self.calls.append(("restart",))


@pytest.fixture
def make_stub(make_settings, tmp_path):
    (tmp_path / "later").mkdir()

    def make(load=REPORT, **changes):
        defaults = {"admin_token": TOKEN, "fault_injection": True, "model_repository": tmp_path}
        return Stub(make_settings(**(defaults | changes)), load)

    return make


def ask(stub, method, path, headers=BEARER, **arguments) -> httpx.Response:
    async def answer():
        app = create_app(stub.settings)
        app.state.service = stub
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, headers=headers, **arguments)

    return asyncio.run(answer())


@pytest.mark.parametrize(("method", "path"), EVERY_CALL)
def test_without_a_token_in_the_settings_every_call_is_refused(make_stub, method, path):
    stub = make_stub(admin_token=None)
    response = ask(stub, method, path)
    assert response.status_code == 403
    assert response.json() == {"error": "admin calls are closed: set CCMUSIC_ADMIN_TOKEN"}
    assert stub.calls == []


@pytest.mark.parametrize(("method", "path"), EVERY_CALL)
@pytest.mark.parametrize(
    "authorization", [None, "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"]
)
def test_without_the_right_token_nothing_is_done(make_stub, method, path, authorization):
    stub = make_stub()
    response = ask(stub, method, path, {} if authorization is None else {"Authorization": authorization.encode()})
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert list(response.json()) == ["error"]
    assert stub.calls == []


def test_the_token_can_be_in_a_file_and_a_missing_file_refuses_every_call(make_stub, tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n", encoding="utf-8")
    stub = make_stub(admin_token=None, admin_token_file=file)
    assert ask(stub, "GET", "/debug/faults").status_code == 200
    file.unlink()
    response = ask(stub, "GET", "/debug/faults")
    assert response.status_code == 403
    assert "cannot be read" in response.json()["error"]


def test_load_answers_with_the_report(make_stub):
    stub = make_stub()
    response = ask(stub, "POST", "/v2/repository/models/later/load")
    assert (response.status_code, response.json()) == (200, REPORT.as_json())
    assert stub.calls == [("load", "later")]


@pytest.mark.parametrize(
    "error", [ModelRefused("it is slower"), ModelFileNotFound("later/card.json"), SwapInProgress("another is loading")]
)
def test_a_refused_load_returns_the_reason(make_stub, error):
    response = ask(make_stub(error), "POST", "/v2/repository/models/later/load")
    assert (response.status_code, response.json()) == (409, {"error": str(error)})


@pytest.mark.parametrize(
    ("name", "status"),
    [("nowhere", 404), ("Later", 422), ("..", 404), ("%2e%2e", 422), ("..%2flater", 404), ("-x", 422), ("a" * 65, 422)],
)
def test_impossible_names_are_refused(make_stub, name, status):
    stub = make_stub()
    assert ask(stub, "POST", f"/v2/repository/models/{name}/load").status_code == status
    assert stub.calls == []


def test_load_without_a_repository(make_stub):
    stub = make_stub(model_repository=None)
    response = ask(stub, "POST", "/v2/repository/models/later/load")
    assert response.status_code == 404
    assert "CCMUSIC_MODEL_REPOSITORY" in response.json()["error"]
    assert stub.calls == []


@pytest.mark.parametrize("content", [b'{"parameters": {"config": "{}"}}', b"[]", b"{"])
def test_load_refuses_parameters_instead_of_ignoring_them(make_stub, content):
    stub = make_stub()
    assert ask(stub, "POST", "/v2/repository/models/later/load", content=content).status_code == 422
    assert stub.calls == []


def test_unload_is_refused(make_stub):
    response = ask(make_stub(), "POST", "/v2/repository/models/later/unload")
    assert response.status_code == 409
    assert "not unloaded" in response.json()["error"]


def test_stack_dumps(make_stub):
    response = ask(make_stub(), "GET", "/debug/stack-dumps/1")
    assert (response.text, response.headers["content-type"]) == ("Thread 1", "text/plain; charset=utf-8")
    assert ask(make_stub(), "GET", "/debug/stack-dumps/2").status_code == 404


@pytest.mark.parametrize(("method", "path"), EVERY_CALL[3:])
def test_fault_calls_do_not_exist_unless_faults_are_allowed(make_stub, method, path):
    stub = make_stub(fault_injection=False)
    for headers in ({}, BEARER):
        assert ask(stub, method, path, headers).status_code == 404
    assert stub.calls == []


def test_faults_are_listed_with_their_effect(make_stub):
    listed = ask(make_stub(), "GET", "/debug/faults").json()
    assert {fault["name"]: fault["description"] for fault in listed} == FAULTS


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", (0, None)), ("?worker=1&size=2.5", (1, 2.5)), ("?seconds=3", (0, 3.0)), ("?seconds=3&size=4", (0, 4.0))],
)
def test_inject(make_stub, query, expected):
    stub = make_stub()
    assert ask(stub, "POST", f"/debug/faults/hold-gil{query}").json() == {"fault": "hold-gil"}
    assert stub.calls == [("inject", "hold-gil", *expected)]


@pytest.mark.parametrize("path", ["nothing", "kill?worker=-1", "kill?size=0", "kill?size=nan", "kill?worker=x"])
def test_impossible_faults_are_refused(make_stub, path):
    stub = make_stub()
    response = ask(stub, "POST", f"/debug/faults/{path}")
    assert (response.status_code, response.json()["type"]) == (422, "invalid-parameter")
    assert stub.calls == []


def test_clear_and_restart(make_stub):
    stub = make_stub()
    assert ask(stub, "DELETE", "/debug/faults").status_code == 204
    assert ask(stub, "POST", "/debug/restart-workers").status_code == 204
    assert stub.calls == [("clear",), ("restart",)]


# a running service


@pytest.fixture(scope="module")
def server(model_directory, tmp_path_factory):
    repository = tmp_path_factory.mktemp("repository")
    write_model(repository / "later", version="0.0.2")
    write_model(repository / "broken", sha256="0" * 64)
    write_model(repository / "wrong", band_network(0.2), golden=read_card(model_directory / CARD_NAME).golden)
    with running_server(
        "--no-page",
        CCMUSIC_MODEL=str(model_directory),
        CCMUSIC_WORKERS="1",
        CCMUSIC_MODEL_REPOSITORY=str(repository),
        CCMUSIC_SWAP_MAX_SLOWDOWN="100",  # of models that take milliseconds, a busy machine may delay one so much
        CCMUSIC_ADMIN_TOKEN="secret",
        CCMUSIC_FAULT_INJECTION="true",
    ) as running:
        running.wait_healthy()
        yield running


@pytest.fixture
def client(server):
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


REAL = {"Authorization": "Bearer secret"}


@pytest.mark.parametrize(("name", "cause"), [("broken", "SHA-256"), ("wrong", "logits off")])
def test_a_bad_model_is_refused_and_the_old_one_continues(client, name, cause):
    before = client.get_model_metadata("ccmusic")
    with pytest.raises(InferenceServerException, match=cause) as caught:
        client.load_model(name, headers=REAL)
    assert caught.value.status() == "409"
    assert client.get_model_metadata("ccmusic") == before


def test_a_good_model_takes_over(client, server):
    client.load_model("later", headers=REAL)
    wait_until(lambda: client.get_model_metadata("ccmusic")["versions"] == ["0.0.2"], "the new model is in use")
    assert not client.is_model_ready("bands", "0.0.1")
    assert client.is_model_ready("bands", "0.0.2")
    with pytest.raises(InferenceServerException, match="not unloaded"):
        client.unload_model("later", headers=REAL)
    assert client.is_model_ready("bands", "0.0.2")


def test_the_stack_dump_of_a_lost_worker_can_be_read(server):
    def worker() -> int | None:
        return server.health().json()["workers"][0]["pid"]

    def dumps():
        return server.health().json()["stack_dumps"]

    def kept() -> bool:
        """A busy machine may cut a dump before it has begun; then the next worker is frozen."""
        server.wait_healthy()
        pid = worker()
        assert httpx.post(f"{server.url}/debug/faults/freeze", headers=REAL).status_code == 200
        wait_until(lambda: worker() not in (pid, None), "it is replaced")
        return bool(dumps())

    wait_until(kept, "a stack dump is kept")
    path = dumps()[-1]["href"]
    assert httpx.get(f"{server.url}{path}").status_code == 401
    assert httpx.get(f"{server.url}{path}", headers=REAL).status_code == 200
    server.wait_healthy()
