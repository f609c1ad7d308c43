"""Paths and features of Gradio that must be closed, each tried on the served page."""

import json
import socket
from pathlib import Path

import httpx
import pytest

from ccmusic.ui.guard import is_allowed
from ccmusic.ui.kept_uploads import LEAST_BYTES
from support.waiting import PATIENCE_SECONDS, wait_until
from ui.conftest import MAX_PAGE_BYTES, MAX_UPLOAD_BYTES


def upload(client: httpx.Client, content: bytes, name: str = "clip.wav") -> httpx.Response:
    return client.post("/gradio_api/upload", files={"files": (name, content, "audio/wav")})


def classify_path(client: httpx.Client, path: str, **fields: object) -> str:
    """Ask the public endpoint to classify a path; return the raw event stream."""
    clip = {"path": path, "meta": {"_type": "gradio.FileData"}} | fields
    started = client.post("/gradio_api/call/classify", json={"data": [clip, "whole"]})
    started.raise_for_status()
    return client.get(f"/gradio_api/call/classify/{started.json()['event_id']}").text


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/startup-events",
        "/monitoring",
        "/monitoring/summary",
        "/gradio_api/monitoring/summary",
        "/gradio_api/proxy=https://example.hf.space/",
        "/gradio_api/file=http://example.com/",
        "/gradio_api/file=HTTPS://example.com/",
        "/gradio_api/file=file:///etc/hostname",
        "/gradio_api/deep_link?session_hash=x",
        "/gradio_api/dev/reload",
        "/gradio_api/vibe-code",
        "/gradio_api/runs",
        "/gradio_api/run-history/buckets",
        "/gradio_api/profiling/traces",
        "/gradio_api/token",
        "/login",
        "/logout",
        "/custom",
    ],
)
def test_paths_that_the_page_does_not_need_are_closed(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/", "/config", "/theme.css", "/gradio_api/info", "/manifest.json", "/favicon.ico"])
def test_paths_that_the_page_needs_are_open(client, path):
    assert client.get(path).status_code == 200


def test_line_ends_and_prefixes_do_not_get_past_the_allowed_paths():
    assert is_allowed("/gradio_api/file=/tmp/x/clip.wav")
    assert not is_allowed("/gradio_api/file=http://x")
    assert not is_allowed("/gradio_api/startup-events\n")
    assert not is_allowed("/x/config")
    assert not is_allowed("")


@pytest.mark.parametrize("path", ["/etc/hostname", __file__, "../../etc/hostname", "/proc/self/environ"])
def test_files_of_the_machine_can_be_neither_fetched_nor_classified(client, page_server, path):
    assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)
    assert "event: error" in classify_path(client, path)
    assert page_server.service.calls == []


def test_a_file_of_the_machine_is_refused_as_a_stream(client, page_server):
    assert "event: error" in classify_path(client, "/etc/hostname", is_stream=True)
    assert page_server.service.calls == []


def test_a_url_in_place_of_a_recording_is_refused(client, page_server):
    assert "Send the recording itself" in classify_path(client, "http://192.0.2.1/clip.wav")
    assert page_server.service.calls == []


def test_the_path_of_an_upload_cannot_be_guessed(client):
    import hashlib

    content = b"RIFF a private recording"
    [path] = upload(client, content).json()
    plain = hashlib.sha256(content).hexdigest()
    assert plain not in path
    assert client.get(f"/gradio_api/file={path}").content == content
    guessed = Path(path).parent.with_name(plain) / "clip.wav"
    assert client.get(f"/gradio_api/file={guessed}").status_code == 403
    for directory in (Path(path).parent, Path(path).parents[1]):  # no listing either
        assert client.get(f"/gradio_api/file={directory}").status_code == 403


def test_only_this_user_can_read_uploads(client):
    [path] = upload(client, b"RIFF private").json()
    assert Path(path).parents[1].stat().st_mode & 0o077 == 0


def test_a_too_large_upload_is_refused_and_not_kept(client):
    [small] = upload(client, b"x" * MAX_UPLOAD_BYTES).json()
    before = set(Path(small).parents[1].rglob("*"))
    assert upload(client, b"y" * (MAX_UPLOAD_BYTES + 1)).status_code == 413
    assert set(Path(small).parents[1].rglob("*")) == before


def test_the_oldest_uploads_of_a_client_beyond_its_quota_are_deleted(client):
    most = MAX_PAGE_BYTES // 2 // LEAST_BYTES
    paths = [upload(client, b"RIFF %d" % number).json()[0] for number in range(most + 1)]
    assert client.get(f"/gradio_api/file={paths[0]}").status_code in (403, 404)
    assert [client.get(f"/gradio_api/file={path}").status_code for path in paths[1:]] == [200] * most


def test_an_upload_that_is_broken_off_leaves_no_file(client):
    [path] = upload(client, b"RIFF complete").json()
    directory = Path(path).parents[1]
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n"
            b"Content-Length: 20000\r\n\r\n"
            b'--B\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\nRIFF half'
        )
        wait_until(lambda: any(each.is_file() for each in directory.glob("tmp*")), "a part of it has arrived")
    wait_until(lambda: not any(each.is_file() for each in directory.glob("tmp*")), "it is deleted")


@pytest.mark.parametrize(
    "form",
    [
        {"files": [("files", ("a.wav", b"a")), ("files", ("b.wav", b"b"))]},
        {"files": [("files", ("a.wav", b"a"))], "data": {"x": "y"}},
        {"files": [("files", (None, b"a"))]},
    ],
)
def test_an_upload_is_one_file_and_nothing_else(client, form):
    [path] = upload(client, b"RIFF other").json()
    before = set(Path(path).parents[1].rglob("*"))
    assert client.post("/gradio_api/upload", **form).status_code == 400
    assert set(Path(path).parents[1].rglob("*")) == before


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/gradio_api/call/nothing", {"data": []}, 404),
        ("/gradio_api/run/nothing", {"data": []}, 404),
        ("/gradio_api/call/v2/classify", {"nothing": 1}, 422),
        ("/gradio_api/call/v2/classify", {}, 422),
    ],
)
def test_a_call_that_no_function_has_is_no_error_of_the_service(client, path, body, status):
    assert client.post(path, json=body).status_code == status


def test_the_stream_of_an_unknown_session_ends(client):
    assert "404" in client.get("/gradio_api/queue/data?session_hash=unknown").text


def test_the_name_of_an_upload_cannot_leave_its_directory(client):
    [path] = upload(client, b"RIFF walks", "../../../../tmp/walk.wav").json()
    assert Path(path).name == "walk.wav"
    assert Path(path).parent.parent.name.startswith("ccmusic-page-")


def test_an_html_upload_is_served_as_an_attachment(client):
    [path] = upload(client, b"<script>alert(1)</script>", "clip.html").json()
    response = client.get(f"/gradio_api/file={path}")
    assert response.headers["content-disposition"].startswith("attachment")
    assert response.headers["x-content-type-options"] == "nosniff"


def test_the_page_may_load_only_from_its_own_origin(client):
    response = client.get("/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "script-src 'self' 'sha256-" in policy
    assert policy.count("unsafe-inline") == policy.count("style-src 'self' 'unsafe-inline'") == 1


def test_the_page_does_not_take_its_root_from_strangers(client):
    config = client.get("/config", headers={"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}).json()
    assert "evil.example" not in json.dumps(config)
    assert config["root"].startswith("http://127.0.0.1")


@pytest.mark.parametrize("path", ["/", "/config", "/theme.css", "/gradio_api/info", "/gradio_api/queue/join"])
def test_no_other_origin_may_read_the_page(client, path):
    origin = {"Host": "music.example", "Origin": "http://evil.example"}
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    for answer in (client.get(path, headers=origin), client.options(path, headers=origin | preflight)):
        assert [name for name in answer.headers if name.startswith("access-control")] == []


def test_the_gradio_api_has_only_classify(client):
    info = client.get("/gradio_api/info").json()
    assert list(info["named_endpoints"]) == ["/classify"]
    assert info["unnamed_endpoints"] == {}
    assert "github" not in json.dumps(info)
    assert [p["parameter_name"] for p in info["named_endpoints"]["/classify"]["parameters"]] == ["audio", "windows"]


def test_nothing_is_reported_or_recorded(client):
    config = client.get("/config").json()
    assert config["analytics_enabled"] is False
    assert not config.get("run_history")
    assert "api.gradio.app" not in json.dumps(config)
