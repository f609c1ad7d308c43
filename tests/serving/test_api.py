"""The HTTP API of a running service."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from ccmusic import __version__
from ccmusic.genres import LABELS
from ccmusic.inference.result import FLAGS
from ccmusic.models.non_music_limits import OUT_OF_REACH
from ccmusic.serving.schemas import Classification, Genres, Models, Problem
from ccmusic.settings import Settings
from support.bands_model import write_model
from support.recordings import bin_frequency, tone, wav
from support.running_server import running_server
from support.waiting import PATIENCE_SECONDS, wait_until

MAX_UPLOAD_BYTES = 1_000_000
RECORDING = wav(tone(bin_frequency(42), 4.0))


@pytest.fixture(scope="module")
def server(model_directory):
    with running_server(
        "--no-page",
        CCMUSIC_MODEL=str(model_directory),
        CCMUSIC_WORKERS="1",
        CCMUSIC_MAX_UPLOAD_BYTES=str(MAX_UPLOAD_BYTES),
        CCMUSIC_MAX_SECONDS="60",
    ) as running:
        running.wait_healthy()
        yield running


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=PATIENCE_SECONDS) as client:
        yield client


def problem(response: httpx.Response, status: int, slug: str) -> Problem:
    assert response.headers["content-type"] == "application/problem+json"
    body = Problem.model_validate_json(response.content)
    assert (response.status_code, body.status, body.type) == (status, status, slug)
    assert body.request_id == response.headers["x-request-id"]
    return body


def test_a_multipart_upload_is_classified(client):
    response = client.post("/v1/classify", files={"audio": ("song.wav", RECORDING, "audio/wav")})
    assert response.status_code == 200
    answer = Classification.model_validate_json(response.content, strict=True)
    assert answer.predictions[0].genre == LABELS[8]
    assert len(answer.predictions) == 5
    assert answer.model.name == "bands"
    assert answer.duration_seconds == 4.0
    assert [len(answer.levels[level]) for level in ("16", "9", "2")] == [16, 9, 2]
    assert answer.request_id == response.headers["x-request-id"]


@pytest.mark.parametrize("name", ["filename*=UTF-8''%E6%91%87.flac", "FileName* =x", 'filename="a"; filename*=b'])
def test_a_file_may_have_an_extended_name(client, name):
    head = f'--B\r\nContent-Disposition: form-data; name="audio"; {name}\r\n\r\n'.encode()
    response = client.post(
        "/v1/classify",
        content=head + RECORDING + b"\r\n--B--\r\n",
        headers={"content-type": "multipart/form-data; boundary=B"},
    )
    assert response.json()["predictions"][0]["genre"] == LABELS[8]


def test_an_explanation_speaks_of_the_requested_level(client):
    response = client.post("/v1/classify", params={"explain": True, "level": 2}, files={"audio": RECORDING})
    answer = response.json()
    explained = {window["saliency"]["genre"] for window in answer["windows"] if window.get("saliency")}
    assert explained == {answer["predictions"][0]["genre"]} == {"Non_classic"}


def test_a_raw_body_is_classified(client):
    response = client.post("/v1/classify", content=RECORDING, headers={"content-type": "audio/wav"})
    assert response.json()["predictions"][0]["genre"] == LABELS[8]


def test_top_k_level_and_windows_shape_the_answer(client):
    response = client.post(
        "/v1/classify",
        params={"top_k": 2, "level": 2, "windows": "3"},
        content=RECORDING,
        headers={"content-type": "audio/wav", "x-request-id": "mine-1"},
    )
    answer = response.json()
    assert [p["genre"] for p in answer["predictions"]] == ["Non_classic", "Classic"]
    assert len(answer["windows"]) == 3
    assert answer["request_id"] == "mine-1"


def test_explain_adds_the_probability_without_each_part(client):
    song = wav(tone(bin_frequency(12), 5.0))
    plain = client.post("/v1/classify", content=song, headers={"Content-Type": "audio/wav"}).json()
    assert all("saliency" not in window for window in plain["windows"])
    explained = client.post(
        "/v1/classify?explain=true&windows=5", content=song, headers={"Content-Type": "audio/wav"}
    ).json()
    Classification.model_validate(explained)
    explanations = [window["saliency"] for window in explained["windows"] if "saliency" in window]
    assert len(explanations) == Settings.model_fields["explain_windows"].default
    assert explanations[0]["genre"] == LABELS[2]
    assert min(explanations[0]["without"][1]) < explanations[0]["probability"]  # the octave of the tone
    assert len(explanations[0]["octave_hz"]) == 8


def test_the_schema_has_every_flag_and_every_kind_of_non_music():
    properties = Classification.model_json_schema()["properties"]
    assert tuple(properties["flags"]["items"]["enum"]) == FLAGS
    assert tuple(properties["odd"]["anyOf"][0]["enum"]) == ("silence", *OUT_OF_REACH)


def test_a_request_id_that_could_forge_a_log_line_is_replaced(client):
    response = client.get("/v1/genres", headers={"x-request-id": "a b"})
    assert response.headers["x-request-id"] != "a b"


@pytest.mark.parametrize(
    ("params", "parameter"),
    [
        ({"top_k": "0"}, "top_k"),
        ({"top_k": "17"}, "top_k"),
        ({"top_k": "many"}, "top_k"),
        ({"level": "5"}, "level"),
        ({"windows": "some"}, "windows"),
        ({"windows": "0"}, "windows"),
    ],
)
def test_an_invalid_parameter_is_named(client, params, parameter):
    response = client.post("/v1/classify", params=params, content=RECORDING, headers={"content-type": "audio/wav"})
    assert problem(response, 422, "invalid-parameter").parameter == parameter


@pytest.mark.parametrize(
    ("content", "content_type", "status", "slug"),
    [
        (b"", "audio/wav", 422, "empty-audio"),
        (b"", "", 422, "empty-audio"),
        (b"hello, this is not audio " * 9, "audio/wav", 415, "unsupported-media"),
        (RECORDING, "text/plain", 415, "unsupported-media"),
        (b"fLaC" + bytes(2000), "audio/flac", 422, "undecodable-audio"),
        (wav(tone(440, 61.0, sample_rate=4000), 4000), "audio/wav", 422, "audio-too-long"),
        (bytes(MAX_UPLOAD_BYTES + 1), "audio/wav", 413, "upload-too-large"),
        (bytes(MAX_UPLOAD_BYTES + 200_000), "audio/wav", 413, "upload-too-large"),
    ],
)
def test_each_kind_of_bad_recording_gets_its_problem_type(client, content, content_type, status, slug):
    response = client.post("/v1/classify", content=content, headers={"content-type": content_type})
    problem(response, status, slug)


def test_an_endless_upload_is_stopped_at_the_limit(client):
    sent = 0

    def endless():
        nonlocal sent
        while True:
            sent += 65536
            yield bytes(65536)

    try:
        response = client.post(
            "/v1/classify", content=endless(), headers={"content-type": "audio/wav"}, timeout=PATIENCE_SECONDS
        )
    except httpx.TransportError:
        pass  # the server closed the connection before the client read the response; that is a stop, too
    else:
        problem(response, 413, "upload-too-large")
    assert sent < 100 * MAX_UPLOAD_BYTES


@pytest.mark.parametrize("files", [{"sound": ("a.wav", RECORDING)}, {}])
def test_the_error_for_a_form_without_the_field_names_the_field(client, files):
    response = client.post(
        "/v1/classify",
        files=files,
        data={"other": "x"},
        headers={} if files else {"content-type": "multipart/form-data; boundary=x"},
    )
    assert "audio" in problem(response, 422, "invalid-parameter").detail


def test_bad_recordings_do_not_affect_other_requests(client):
    def classify(index: int) -> str:
        content = RECORDING if index % 2 else b"fLaC" + bytes(range(256)) * index
        response = client.post("/v1/classify", content=content, headers={"content-type": "audio/wav"})
        return response.json()["predictions"][0]["genre"] if response.status_code == 200 else response.json()["type"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(classify, range(24)))
    assert answers[1::2] == [LABELS[8]] * 12
    assert set(answers[0::2]) <= {"undecodable-audio", "unsupported-media"}


def test_genres_and_models_match_their_schemas(client):
    genres = Genres.model_validate_json(client.get("/v1/genres").content)
    assert [leaf.genre for leaf in genres.level16] == list(LABELS)
    models = Models.model_validate_json(client.get("/v1/models").content)
    assert (models.model_status, models.models[0].name) == ("ready", "bands")


def test_openapi_describes_the_upload(client):
    described = client.get("/openapi.json").json()
    body = described["paths"]["/v1/classify"]["post"]["requestBody"]["content"]
    assert body["multipart/form-data"]["schema"]["required"] == ["audio"]
    assert described["info"]["version"] == __version__
    assert client.get("/docs").status_code == 200


def test_an_unknown_path_gets_a_problem_response(client):
    response = client.get("/v1/nothing")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_is_ok_with_get_and_head(client, method):
    response = client.request(method, "/health")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json"
    if method == "GET":
        assert response.json()["status"] == "ok"


def test_health_while_loading_then_ready(model_directory):
    with running_server("--no-page", CCMUSIC_MODEL=str(model_directory), CCMUSIC_WORKERS="1") as server:
        first = server.health()
        assert first.status_code == 503
        assert first.json()["message"] == "Model is still loading..."
        assert first.json()["model_status"] == "loading"
        refused = httpx.post(f"{server.url}/v1/classify", content=RECORDING, headers={"content-type": "audio/wav"})
        assert problem(refused, 503, "model-not-ready").detail == "Model is still loading..."
        assert int(refused.headers["retry-after"]) >= 1
        server.wait_healthy()
        assert server.health().json()["model_status"] == "ready"


def test_health_reports_a_missing_model_file_and_recovers(tmp_path):
    directory = tmp_path / "model"
    with running_server("--no-page", CCMUSIC_MODEL=str(directory), CCMUSIC_WORKERS="1") as server:
        assert server.health().json()["message"] == f"Model file not found: {directory}"
        assert server.health().status_code == 503
        write_model(directory)
        server.wait_healthy()
        # deleted while the service runs: unhealthy, but answers stay correct
        network = (directory / "model.onnx").rename(tmp_path / "away.onnx")
        missing = f"Model file not found: {directory / 'model.onnx'}"
        wait_until(lambda: server.health().json().get("message") == missing, "the message")
        assert server.health().status_code == 503
        response = httpx.post(f"{server.url}/v1/classify", content=RECORDING, headers={"content-type": "audio/wav"})
        assert response.json()["predictions"][0]["genre"] == LABELS[8]
        network.rename(directory / "model.onnx")
        server.wait_healthy()


def test_health_reports_why_loading_failed(tmp_path):
    directory = write_model(tmp_path / "model")
    (directory / "model.onnx").write_bytes(b"altered")
    with running_server("--no-page", CCMUSIC_MODEL=str(directory), CCMUSIC_WORKERS="1") as server:
        wait_until(lambda: server.health().json()["model_status"] == "error", "loading failed")
        assert server.health().json()["message"].startswith("Model loading failed: model.onnx has SHA-256")


def test_sigterm_ends_the_service_with_exit_code_0_and_frees_the_port(model_directory):
    with running_server("--no-page", CCMUSIC_MODEL=str(model_directory), CCMUSIC_WORKERS="1") as server:
        server.wait_healthy()
    assert server.process.returncode == 0
    address = urlsplit(server.url)
    with socket.socket() as probe:
        assert probe.connect_ex((address.hostname, address.port)) != 0


def test_json_responses_are_utf8(client):
    response = client.get("/v1/genres")
    assert json.loads(response.content.decode("utf-8"))["level16"][0]["label_zh"] == "交响乐"


def test_app_py_starts_the_same_service_from_any_directory(model_directory):
    app = Path(__file__).parents[2] / "app.py"
    with running_server("--no-page", command=(str(app),), CCMUSIC_MODEL=str(model_directory)) as server:
        server.wait_healthy()
        assert server.health().json()["service"] == "ccmusic-database"


def test_a_too_large_declared_length_is_refused_before_the_body_is_sent(server):
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(
            b"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Type: audio/wav\r\nContent-Length: 9999999999\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
