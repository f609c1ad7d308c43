"""The real nginx with the shipped configuration before the real service."""

import json
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file

from support.ports import free_port
from support.recordings import tone, wav
from support.running_server import running_server
from support.waiting import PATIENCE_SECONDS, wait_until

SHIPPED = Path(__file__).parents[2] / "deploy/nginx/ccmusic.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
pytestmark = [pytest.mark.deploy, pytest.mark.skipif(NGINX is None, reason="nginx is not installed")]

SONG = wav(tone(440, 3.0))
AUDIO = {"content-type": "audio/wav"}
LIMIT_BYTES = 100 * 2**20
FORM_BYTES = 64 * 2**10
FAST = "rate=100000r/s"
"""For clients that send as much as they can."""


@dataclass
class Proxy:
    """A running nginx."""

    url: str
    log: Path

    @property
    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


@contextmanager
def nginx(directory: Path, *services: str, rate: str = "rate=50r/s") -> Iterator[Proxy]:
    """The shipped file with other ports and paths, and nothing else changed but the rate of small requests."""
    port = free_port()
    log = directory / "access.log"
    text = SHIPPED.read_text()
    addresses = [service.removeprefix("http://") for service in services]
    for found, instead in {
        "listen 80;\n    server_name _": f"listen 127.0.0.1:{port};\n    server_name _",
        "/var/log/nginx/ccmusic.log": str(log),
        "rate=50r/s": rate,
        "    server 127.0.0.1:7860": f"    server {addresses[0]}",
        "    #server 127.0.0.1:7870": f"    server {addresses[1]}" if len(addresses) == 2 else "    #",
    }.items():
        assert found in text, f"the shipped file has no {found!r}"
        text = text.replace(found, instead)
    (directory / "ccmusic.conf").write_text(text)
    paths = "".join(
        f"{name}_temp_path {directory / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = directory / "nginx.conf"
    main.write_text(
        f"daemon off; pid {directory / 'pid'}; error_log {directory / 'error.log'} warn; worker_processes 1;"
        f"{'user root;' if Path.home() == Path('/root') else ''}"
        f"events {{}} http {{ {paths} access_log off; include {directory / 'ccmusic.conf'}; }}"
    )
    command = [NGINX, "-p", str(directory), "-e", str(directory / "error.log"), "-c", str(main)]
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr
    assert "[warn]" not in tried.stderr
    process = subprocess.Popen(command)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(url), "nginx answers")
        yield Proxy(url, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        httpx.get(f"{url}/livez", timeout=10)
        return True
    return False


@pytest.fixture(scope="module")
def service():
    """With its page."""
    with running_server("--workers", "1", CCMUSIC_TRUSTED_PROXIES="127.0.0.1") as server:
        server.wait_healthy()
        wait_until(lambda: httpx.get(f"{server.url}/config").status_code == 200, "the page is open")
        yield server


@pytest.fixture
def proxy(service, tmp_path):
    with nginx(tmp_path, service.url) as proxy:
        yield proxy


@contextmanager
def replica(model_directory: Path) -> Iterator[str]:
    with running_server("--no-page", "--workers", "1", CCMUSIC_MODEL=str(model_directory)) as server:
        server.wait_healthy()
        yield server


def problem(answer: httpx.Response, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


def test_the_page_loads_and_classifies(proxy, tmp_path):
    page = httpx.get(proxy.url)
    assert page.status_code == 200
    assert "CCMusic" in page.text
    asset = re.search(r'(?:src|href)="\.?/?(assets/[^"]+\.(?:js|css))"', page.text)[1]
    assert httpx.get(f"{proxy.url}/{asset}").status_code == 200
    (tmp_path / "song.wav").write_bytes(SONG)
    client = Client(proxy.url, verbose=False)
    try:
        answer = client.predict(handle_file(tmp_path / "song.wav"), "whole", api_name="/classify")
    finally:
        client.close()
    assert "confidences" in json.dumps(answer)


def test_the_page_gets_the_browsers_address_and_no_other(proxy):
    lies = {
        "X-Forwarded-Host": "evil.example",
        "X-Gradio-Server": "http://evil.example",
        "Forwarded": "host=evil.example",
    }
    root = httpx.get(f"{proxy.url}/config", headers=lies).json()["root"]
    assert root == proxy.url
    elsewhere = httpx.get(f"{proxy.url}/config", headers={"Host": "music.example.org"}).json()["root"]
    assert elsewhere == "http://music.example.org"


def test_the_api_classifies(proxy):
    for request in ({"content": SONG, "headers": AUDIO}, {"files": {"audio": SONG}}):
        answer = httpx.post(f"{proxy.url}/v1/classify", timeout=60, **request)
        assert answer.status_code == 200
        assert len(answer.json()["predictions"]) == 5


def test_one_id_in_the_log_the_service_and_the_answer(proxy):
    for given, kept in (("mine-1", True), ('"},{"', False), (None, False)):
        headers = AUDIO | ({} if given is None else {"X-Request-Id": given})
        answer = httpx.post(f"{proxy.url}/v1/classify", content=b"", headers=headers)
        assert answer.status_code == 422
        request_id = answer.json()["request_id"]
        assert answer.headers["x-request-id"] == request_id
        assert (request_id == given) == kept
        wait_until(lambda sought=request_id: any(sought in line for line in proxy.lines), "it is logged")


def test_an_upload_over_the_limit_is_refused_at_its_declared_length(proxy):
    host, port = proxy.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        length = LIMIT_BYTES + FORM_BYTES + 1
        client.sendall(
            f"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: {length}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413")
    assert b"application/problem+json" in head
    assert json.loads(body)["type"] == "upload-too-large"


def test_an_upload_at_the_limit_reaches_the_service(proxy):
    # a form that weighs as much as one may: nginx passes it on
    rest = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'
    body = rest + bytes(LIMIT_BYTES + FORM_BYTES - len(rest) - len(b"\r\n--x--\r\n")) + b"\r\n--x--\r\n"
    assert len(body) == LIMIT_BYTES + FORM_BYTES
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = httpx.post(f"{proxy.url}/v1/classify", content=body, headers=headers, timeout=60)
    assert "104,857,600" in answer.json()["detail"], "the service's words"


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/metrics/",
        "//metrics",
        "/v1/../metrics",
        "/%6detrics",
        "/%2fmetrics",
        "/debug/faults",
        "/debug/stack-dumps/1",
        "/v2/repository/models/x/load",
        "/v2/models/../repository/models/x/load",
        "/v2//repository/models/x/load",
    ],
)
def test_internal_paths_are_not_found(proxy, path):
    host, port = proxy.url.removeprefix("http://").split(":")
    for method in ("GET", "POST"):
        with socket.create_connection((host, int(port)), timeout=10) as client:  # httpx would tidy the path up
            request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            client.sendall(request.encode())
            answer = b""
            while piece := client.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 404"), answer[:200]
        assert b"there is no such path" in answer
        assert b"ccmusic_" not in answer


def test_probes_pass_and_are_not_logged(proxy):
    for path in ("/health", "/startupz", "/livez", "/readyz?verbose", "/v2/health/live", "/v2/health/ready"):
        for method in ("GET", "HEAD"):
            answer = httpx.request(method, proxy.url + path)
            assert answer.status_code == 200
            assert bool(answer.content) == (method == "GET")
    assert httpx.head(f"{proxy.url}/").status_code == 200
    wait_until(lambda: any("HEAD / " in line for line in proxy.lines), "the page is logged")
    assert len(proxy.lines) == 1


def test_events_arrive_one_by_one(proxy):
    with httpx.stream("GET", f"{proxy.url}/gradio_api/heartbeat/abc", timeout=10) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert "ALIVE" in next(stream.iter_text())  # while the stream is open


def test_too_many_recordings_from_one_address_are_refused(proxy):
    answers, refused = [], []
    with httpx.Client(timeout=PATIENCE_SECONDS) as client:  # one connection, to be faster than the rate
        while len(refused) < 5 and len(answers) < 1000:
            answers.append(client.post(f"{proxy.url}/v1/classify", content=b"", headers=AUDIO))
            if answers[-1].status_code != 422:
                refused.append(answers[-1])
    assert len(refused) == 5
    assert {answer.status_code for answer in answers[:20]} == {422}, "so many may come at once"
    for answer in refused:
        problem(answer, 429)
        assert answer.headers["retry-after"] == "2"
    assert all(httpx.get(f"{proxy.url}/health").status_code == 200 for _ in range(40))


def test_every_location_that_reaches_the_service_has_limits():
    locations = re.findall(r"location [^{]+\{[^}]+\}", SHIPPED.read_text())
    passing = [each for each in locations if "proxy_pass" in each]
    assert len(passing) == 5
    assert [each for each in passing if "limit_req " not in each] == []


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/v1/classify", LIMIT_BYTES + FORM_BYTES),
        ("/gradio_api/upload", LIMIT_BYTES + FORM_BYTES),
        ("/v2/repository/index", 2**20),
        ("/gradio_api/queue/join", 2**20),
        ("/health", 2**20),
    ],
)
def test_only_recordings_may_be_large(proxy, path, most):
    # the head alone is enough for the refusal
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {most + 1}\r\n\r\n"
    host, port = proxy.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(head.encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 413"), path


def test_too_many_requests_for_the_page_are_refused(service, tmp_path):
    # at the shipped rate a slow machine could not send too many
    with (
        nginx(tmp_path, service.url, rate="rate=50r/m") as proxy,
        httpx.Client(base_url=proxy.url, timeout=PATIENCE_SECONDS) as client,
    ):
        answers = [client.get("/gradio_api/queue/status") for _ in range(600)]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert refused
        problem(refused[0], 429)
        assert client.get("/readyz").status_code == 200


def test_no_request_is_lost_with_a_replica(service, model_directory, tmp_path):
    with replica(model_directory) as second, nginx(tmp_path, service.url, second.url, rate=FAST) as proxy:
        address = second.url.removeprefix("http://")
        with many(lambda: httpx.get(f"{proxy.url}/v1/genres")) as answers:
            wait_until(lambda: sum(address in line for line in proxy.lines) >= 20, "both replicas answer")
            second.process.kill()
            second.process.wait()
            n_lines = len(proxy.lines)
            wait_until(lambda: len(proxy.lines) > n_lines + 200, "requests after its end")
        assert {answer.status_code for answer in answers} == {200}
        assert any(f"{address}, " in line for line in proxy.lines), "no request was sent to the dead one"
        # what nobody has begun to read may be sent to another
        songs = [httpx.post(f"{proxy.url}/v1/classify", content=SONG, headers=AUDIO, timeout=60) for _ in range(10)]
        assert {answer.status_code for answer in songs} == {200}


def test_a_replica_that_drains_costs_no_request(service, model_directory, tmp_path):
    with replica(model_directory) as second, nginx(tmp_path, second.url, service.url, rate=FAST) as proxy:
        with many(lambda: httpx.get(f"{proxy.url}/v1/genres")) as answers:
            second.process.send_signal(signal.SIGTERM)
            assert second.process.wait(30) == 0
        assert {answer.status_code for answer in answers} == {200}


def test_without_any_replica_the_answer_says_so(tmp_path):
    with nginx(tmp_path, f"http://127.0.0.1:{free_port()}") as proxy:
        for path in ("/", "/health", "/v1/genres"):
            answer = httpx.get(proxy.url + path)
            assert "cannot be reached" in problem(answer, 502)["detail"]
            assert answer.headers["retry-after"] == "5"


@contextmanager
def many(ask: Callable[[], httpx.Response]) -> Iterator[list[httpx.Response]]:
    """Four clients that ask again and again for as long as the context lasts."""
    answers: list[httpx.Response] = []
    ended = threading.Event()

    def go_on() -> None:
        while not ended.is_set():
            answers.append(ask())

    clients = [threading.Thread(target=go_on) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        wait_until(lambda: len(answers) >= 20, "they ask")
        yield answers
    finally:
        ended.set()
        for client in clients:
            client.join()
