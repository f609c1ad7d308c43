"""The Open Inference Protocol v2: Triton's own client against a running service."""

import asyncio
import base64
import gzip
import json

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from ccmusic import __version__
from ccmusic.errors import ModelNotReady, Overloaded
from ccmusic.genres import LABELS
from ccmusic.inference.result import ModelIdentity
from ccmusic.monitoring.service_snapshot import ServiceSnapshot
from ccmusic.serving.app import create_app
from ccmusic.serving.oip_tensors import MAX_JSON_BYTES
from ccmusic.workers.served_model import ServedModel
from ccmusic.workers.supervisor_state import SupervisorState
from support.bands_model import write_model
from support.recordings import bin_frequency, tone, wav
from support.running_server import running_server
from support.waiting import PATIENCE_SECONDS

RECORDING = wav(tone(bin_frequency(42), 4.0))
MAX_UPLOAD_BYTES = 20_000_000


@pytest.fixture(scope="module")
def server(model_directory, tmp_path_factory):
    repository = tmp_path_factory.mktemp("repository")
    write_model(repository / "bands")
    write_model(repository / "later", version="0.0.2", sha256="0" * 64)
    write_model(repository / "same-files")
    write_model(repository / "other-thresholds", uncertain_below=0.9)
    (repository / "broken").mkdir()
    (repository / "broken" / "card.json").write_text("{}")
    with running_server(
        "--no-page",
        CCMUSIC_MODEL=str(model_directory),
        CCMUSIC_WORKERS="1",
        CCMUSIC_MODEL_REPOSITORY=str(repository),
        CCMUSIC_MAX_UPLOAD_BYTES=str(MAX_UPLOAD_BYTES),
    ) as running:
        running.wait_healthy()
        yield running


@pytest.fixture
def client(server):
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


def audio(content: bytes = RECORDING, *, binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput("audio", [1], "BYTES")
    tensor.set_data_from_numpy(
        np.array([content if binary else base64.b64encode(content)], dtype=np.object_), binary_data=binary
    )
    return tensor


def classified(server) -> dict[str, float]:
    response = httpx.post(
        f"{server.url}/v1/classify?top_k=16",
        content=RECORDING,
        headers={"content-type": "audio/wav"},
        timeout=PATIENCE_SECONDS,
    )
    return {p["genre"]: p["probability"] for p in response.json()["predictions"]}


def body(**changes) -> dict:
    tensor = {
        "name": "audio",
        "shape": [1],
        "datatype": "BYTES",
        "data": [base64.b64encode(RECORDING).decode()],
    } | changes
    return {"inputs": [tensor]}


def error_of(response: httpx.Response) -> str:
    assert list(response.json()) == ["error"]
    return response.json()["error"]


def test_the_server_is_live_and_ready_and_describes_itself(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    metadata = client.get_server_metadata()
    assert (metadata["name"], metadata["version"]) == ("ccmusic", __version__)
    assert "binary_tensor_data" in metadata["extensions"]


@pytest.mark.parametrize("path", ["live", "ready"])
def test_probes_answer_get_and_head(server, path):
    response = httpx.get(f"{server.url}/v2/health/{path}")
    assert response.json() == {path: True}
    assert response.headers["cache-control"] == "no-store"
    assert httpx.head(f"{server.url}/v2/health/{path}").status_code == 200


@pytest.mark.parametrize("name", ["bands", "ccmusic"])
@pytest.mark.parametrize("version", ["", "0.0.1"])
def test_the_model_is_ready_under_its_name_and_its_alias(client, name, version):
    assert client.is_model_ready(name, version)
    metadata = client.get_model_metadata(name, version)
    assert (metadata["name"], metadata["versions"], metadata["platform"]) == ("bands", ["0.0.1"], "ccmusic_pipeline")
    assert metadata["inputs"] == [{"name": "audio", "datatype": "BYTES", "shape": [1]}]
    assert [(t["name"], t["datatype"], t["shape"]) for t in metadata["outputs"]] == [
        ("probabilities", "FP32", [1, 16]),
        ("labels", "BYTES", [1, 16]),
        ("top_labels", "BYTES", [1, 5]),
        ("top_probabilities", "FP32", [1, 5]),
    ]
    assert len(metadata["parameters"]["sha256"]) == 64


@pytest.mark.parametrize(("name", "version"), [("other", ""), ("bands", "2"), ("ccmusic", "2")])
def test_other_models_are_not_found(client, name, version):
    assert not client.is_model_ready(name, version)
    with pytest.raises(InferenceServerException, match="unknown model") as caught:
        client.get_model_metadata(name, version)
    assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException, match="unknown model") as caught:
        client.infer(name, [audio()], version)
    assert caught.value.status() == "404"


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("outputs_binary", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_infer_gives_the_same_answer_as_the_api(client, server, binary, outputs_binary, compression):
    names = ["probabilities", "labels", "top_labels", "top_probabilities"]
    outputs = [triton.InferRequestedOutput(name, binary_data=outputs_binary) for name in names]
    result = client.infer(
        "bands", [audio(binary=binary)], outputs=outputs, request_id="mine", request_compression_algorithm=compression
    )
    expected = classified(server)
    assert result.get_response()["id"] == "mine"
    assert result.get_response()["model_name"] == "bands"
    probabilities, labels = result.as_numpy("probabilities"), result.as_numpy("labels")
    assert (probabilities.shape, probabilities.dtype) == ((1, 16), np.float32)
    texts = [label.decode() if isinstance(label, bytes) else label for label in labels[0]]
    assert texts == list(LABELS)
    assert probabilities[0] == pytest.approx([expected[label] for label in LABELS], abs=1e-6)
    ranked = sorted(expected, key=expected.get, reverse=True)[:5]
    tops = [label.decode() if isinstance(label, bytes) else label for label in result.as_numpy("top_labels")[0]]
    assert tops == ranked
    assert tops[0] == LABELS[8]
    assert result.as_numpy("top_probabilities")[0] == pytest.approx([expected[label] for label in ranked], abs=1e-6)


def test_all_outputs_are_binary_by_default(client):
    result = client.infer("ccmusic", [audio()])
    assert all("binary_data_size" in tensor["parameters"] for tensor in result.get_response()["outputs"])
    assert result.as_numpy("top_labels")[0, 0].decode() == LABELS[8]
    assert "id" not in result.get_response()


def test_requested_outputs_come_in_the_requested_order_and_form(client):
    requested = [
        triton.InferRequestedOutput("top_labels", binary_data=False),
        triton.InferRequestedOutput("probabilities"),
    ]
    result = client.infer("bands", [audio()], outputs=requested)
    first, second = result.get_response()["outputs"]
    assert (first["name"], "data" in first) == ("top_labels", True)
    assert (second["name"], second["parameters"]) == ("probabilities", {"binary_data_size": 64})
    assert result.as_numpy("labels") is None


def test_a_request_in_json_gets_a_response_in_json(server):
    response = httpx.post(f"{server.url}/v2/models/bands/versions/0.0.1/infer", json=body(), timeout=PATIENCE_SECONDS)
    assert response.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in response.headers
    assert [len(tensor["data"]) for tensor in response.json()["outputs"]] == [16, 16, 5, 5]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [(b"fLaC" + bytes(2000), "422", "damaged"), (b"no sound at all " * 20, "415", "text file"), (b"", "422", "empty")],
)
def test_bad_recordings_get_the_status_of_the_problem(client, content, status, words):
    with pytest.raises(InferenceServerException, match=words) as caught:
        client.infer("bands", [audio(content)])
    assert caught.value.status() == status


@pytest.mark.parametrize(
    ("request_body", "words"),
    [
        ([], "request must be"),
        ({}, "inputs must be"),
        ({"inputs": [{}]}, "inputs must be"),
        ({"inputs": [{"name": "sound"}]}, "exactly one tensor"),
        (body(datatype="FP32"), "datatype BYTES"),
        (body(shape=[2]), "shape"),
        (body(data=["not base64!"]), "base64"),
        (body(data=[7]), "base64"),
        (body(data=[]), "base64"),
        (body(parameters={"binary_data_size": 9}), "9, but 0 bytes"),
        (body(parameters={"binary_data_size": 0}), "one BYTES element"),
        (body(parameters={"shared_memory_region": "a"}), "shared memory"),
        (body(parameters=[]), "parameters"),
        (body() | {"outputs": [{"name": "genre"}]}, "outputs must be some of"),
        (body() | {"outputs": [{"name": "labels", "parameters": {"classification": 3}}]}, "top_labels"),
        (body() | {"outputs": [{"name": "labels", "parameters": {"shared_memory_region": "a"}}]}, "shared memory"),
        (body() | {"id": 7}, "id must be"),
        (body() | {"id": "x" * 257}, "id must be"),
        (body() | {"outputs": [{"name": "labels"}, {"name": "labels"}]}, "twice"),
        (body() | {"outputs": [{"name": "labels"}] * 20_000}, "more than 10000 values"),
        (body(shape=[[[]] * 20_000]), "more than 10000 values"),
        (body(shape=[1, ["x" * 5000]]), "..."),
    ],
)
def test_the_error_for_a_malformed_request_states_what_is_wrong(server, request_body, words):
    response = httpx.post(f"{server.url}/v2/models/bands/infer", json=request_body)
    assert response.status_code == 422
    assert words in error_of(response)
    assert len(response.content) < 1000


@pytest.mark.parametrize("length", ["x", "-1", "99999999", "1e1", "²"])
def test_a_header_length_outside_the_body_is_refused(server, length):
    headers = {"Inference-Header-Content-Length": length.encode("latin-1")}
    response = httpx.post(f"{server.url}/v2/models/bands/infer", content=b"{}", headers=headers)
    assert response.status_code == 422
    assert "Inference-Header-Content-Length" in error_of(response)


def test_a_binary_element_with_a_wrong_length_is_refused(server):
    header = json.dumps(body(parameters={"binary_data_size": 8})).encode()
    response = httpx.post(
        f"{server.url}/v2/models/bands/infer",
        content=header + b"\xff\0\0\0abcd",
        headers={"Inference-Header-Content-Length": str(len(header))},
    )
    assert response.status_code == 422
    assert "one BYTES element" in error_of(response)


@pytest.mark.parametrize(
    ("content", "encoding", "status", "words"),
    [
        (b"{}", "br", 415, "not gzip or deflate"),
        (b"{}", "gzip", 422, "is not gzip"),
        (gzip.compress(json.dumps(body()).encode())[:-20], "gzip", 422, "ends in the middle"),
        (gzip.compress(bytes(MAX_JSON_BYTES + 1)), "gzip", 413, "binary tensor"),
    ],
)
def test_bad_or_too_large_compressed_bodies_are_refused(server, content, encoding, status, words):
    headers = {"Content-Encoding": encoding}
    response = httpx.post(
        f"{server.url}/v2/models/bands/infer", content=content, headers=headers, timeout=PATIENCE_SECONDS
    )
    assert response.status_code == status
    assert words in error_of(response)


def test_a_recording_that_becomes_too_large_is_refused(server):
    headers = {"Content-Encoding": "gzip", "Inference-Header-Content-Length": "2"}
    response = httpx.post(
        f"{server.url}/v2/models/bands/infer",
        content=gzip.compress(bytes(MAX_UPLOAD_BYTES + 1)),
        headers=headers,
        timeout=PATIENCE_SECONDS,
    )
    assert response.status_code == 413
    assert "when decompressed" in error_of(response)


def test_json_has_its_own_size_limit(server):
    response = httpx.post(
        f"{server.url}/v2/models/bands/infer", content=b" " * (MAX_JSON_BYTES + 1), timeout=PATIENCE_SECONDS
    )
    assert response.status_code == 413
    assert "binary tensor" in error_of(response)


def test_the_repository_index_lists_every_model_with_its_state(client, server):
    index = {model["name"]: model for model in client.get_model_repository_index()}
    assert {name: model["state"] for name, model in index.items()} == {
        "bands": "READY",
        "later": "UNAVAILABLE",
        "same-files": "UNAVAILABLE",
        "other-thresholds": "UNAVAILABLE",
        "broken": "UNAVAILABLE",
    }
    assert (index["bands"]["version"], index["later"]["version"]) == ("0.0.1", "0.0.2")
    assert index["same-files"]["reason"] == "these files are being served"
    assert index["other-thresholds"]["reason"] == "not loaded"  # the same network with another card
    assert "card" in index["broken"]["reason"]
    ready = httpx.post(f"{server.url}/v2/repository/index", json={"ready": True}).json()
    assert [model["name"] for model in ready] == ["bands"]
    assert httpx.post(f"{server.url}/v2/repository/index", content=b"[]").status_code == 422


class Stub:
    """A service with the given snapshot. Without an error, `classify` waits until it is cancelled."""

    def __init__(self, settings, snapshot, error=None) -> None:
        self.settings = settings
        self._snapshot = snapshot
        self._error = error
        self.started, self.cancelled = asyncio.Event(), asyncio.Event()

    def snapshot(self):
        return self._snapshot

    async def classify(self, source):
        if self._error is not None:
            raise self._error
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


SERVED = SupervisorState(served=ServedModel(ModelIdentity("bands", "0.0.1", "0" * 64), "onnxruntime-cpu"))


def snapshot(**fields) -> ServiceSnapshot:
    return ServiceSnapshot(service="ccmusic-database", version="1", **fields)


def ask(settings, service, method: str, path: str, **arguments) -> httpx.Response:
    async def answer():
        app = create_app(settings)
        app.state.service = service
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **arguments)

    return asyncio.run(answer())


@pytest.mark.parametrize("name", ["bands", "ccmusic", "other"])
@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/ready"), ("POST", "/infer")])
def test_every_model_is_unavailable_until_one_is_loaded(make_settings, name, method, path):
    service = Stub(make_settings(), snapshot(), ModelNotReady("Model is still loading..."))
    response = ask(make_settings(), service, method, f"/v2/models/{name}{path}")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert error_of(response)


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [(Overloaded("too many wait", 7.0), 503, "7"), (RuntimeError("a secret"), 500, None)],
)
def test_failures_of_the_service_get_their_status(make_settings, error, status, retry_after):
    response = ask(
        make_settings(),
        Stub(make_settings(), snapshot(supervisor=SERVED), error),
        "POST",
        "/v2/models/bands/infer",
        json=body(),
    )
    assert (response.status_code, response.headers.get("retry-after")) == (status, retry_after)
    assert "secret" not in error_of(response)


def test_probes_follow_the_snapshot(make_settings):
    from ccmusic.health import Check, failed
    from ccmusic.health.check import result_of

    check = Check("queue", lambda: None, frozenset({"readyz"}))
    service = Stub(make_settings(), snapshot(supervisor=SERVED, checks=(result_of(check, failed("too old"), 0.0),)))
    assert ask(make_settings(), service, "GET", "/v2/health/live").status_code == 200
    response = ask(make_settings(), service, "GET", "/v2/health/ready")
    assert (response.status_code, response.json()) == (503, {"ready": False})
    assert ask(make_settings(), service, "GET", "/v2/models/bands/ready").status_code == 503
    (model,) = ask(make_settings(), service, "POST", "/v2/repository/index").json()
    assert (model["state"], "too old" in model["reason"]) == ("UNAVAILABLE", True)


def test_a_job_is_cancelled_when_the_client_disconnects(make_settings):
    content = json.dumps(body()).encode()

    async def disconnect():
        app = create_app(make_settings())
        app.state.service = service = Stub(make_settings(), snapshot(supervisor=SERVED))

        async def receive():
            if not sent:
                sent.append(True)
                return {"type": "http.request", "body": content, "more_body": False}
            await service.started.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            responses.append(message)

        sent, responses = [], []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/v2/models/bands/infer",
            "raw_path": b"/v2/models/bands/infer",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }
        await asyncio.wait_for(app(scope, receive, send), 10)
        await asyncio.wait_for(service.cancelled.wait(), 10)

    asyncio.run(disconnect())
