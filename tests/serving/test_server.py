"""The server as a process: how it ends, which clients it disconnects, what it leaves behind."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from ccmusic.health import listen
from support.recordings import tone, wav
from support.running_server import RunningServer, running_server
from support.waiting import PATIENCE_SECONDS, wait_until

SONG = wav(tone(440, 240.0))
AUDIO = {"content-type": "audio/wav"}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_answers_are_sent_without_waiting_for_acknowledgements(host):
    try:
        listener = listen(host, 0)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with listener:
        # asyncio checks this before it switches Nagle's algorithm off
        assert (listener.type, listener.proto) == (socket.SOCK_STREAM, socket.IPPROTO_TCP)


@contextmanager
def healthy_server(model_directory, **environment: str) -> Iterator[RunningServer]:
    with running_server(
        "--no-page",
        "--workers",
        "1",
        CCMUSIC_MODEL=str(model_directory),
        CCMUSIC_MANAGEMENT_PORT="0",
        CCMUSIC_DRAIN_SECONDS=str(2 * PATIENCE_SECONDS),  # a test that needs all of it fails
        CCMUSIC_FAULT_INJECTION="true",
        CCMUSIC_ADMIN_TOKEN="secret",
        **environment,
    ) as server:
        server.wait_healthy()
        yield server


def impatient_server(model_directory) -> AbstractContextManager[RunningServer]:
    return healthy_server(model_directory, CCMUSIC_UPLOAD_IDLE_SECONDS="1.5", CCMUSIC_DRAIN_LINGER_SECONDS="1")


@pytest.fixture(scope="module")
def server(model_directory):
    """For tests after which it runs as before."""
    with impatient_server(model_directory) as server:
        yield server


@pytest.fixture
def own_server(model_directory):
    with impatient_server(model_directory) as server:
        yield server


@pytest.fixture
def patient_server(model_directory):
    """Every sender gets its answer, however busy the machine is: also one that is late, or that pauses."""
    limits = ("UPLOAD_IDLE_SECONDS", "UPLOAD_TIMEOUT_SECONDS", "MAX_WAIT_SECONDS", "REQUEST_TIMEOUT_SECONDS")
    with healthy_server(
        model_directory,
        CCMUSIC_DRAIN_LINGER_SECONDS="5",
        **{f"CCMUSIC_{limit}": str(PATIENCE_SECONDS) for limit in limits},
    ) as server:
        yield server


def connection(server) -> socket.socket:
    url = httpx.URL(server.url)
    return socket.create_connection((url.host, url.port), timeout=PATIENCE_SECONDS)


@contextmanager
def many_songs(server) -> Iterator[None]:
    """Twelve clients send a recording; some wait in the queue; in the end each must have an answer."""
    answers = []

    def send() -> None:
        answers.append(
            httpx.post(f"{server.url}/v1/classify", content=SONG, headers=AUDIO, timeout=PATIENCE_SECONDS).status_code
        )

    clients = [threading.Thread(target=send) for _ in range(12)]
    for each in clients:
        each.start()
    # the queue is sampled twice a second; later recordings arrive while the server still listens
    wait_until(lambda: server.health().json()["queue"]["waiting"] >= 2, "recordings wait")
    yield
    for each in clients:
        each.join()
    assert answers == [200] * 12


CHUNKED = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer_to(server, content: bytes) -> bytes:
    with connection(server) as client:
        with suppress(OSError):
            client.sendall(content)
        answer = b""
        with suppress(OSError):
            while b"\r\n\r\n" not in answer and (piece := client.recv(1000)):
                answer += piece
        return answer


def test_a_body_in_chunks_of_one_byte_is_refused(server):
    assert answer_to(server, CHUNKED + b"1\r\nx\r\n" * 500_000).startswith(b"HTTP/1.1 400")


def test_bodies_in_chunks_of_a_usual_size_are_read(server):
    for size, count in ((1, 1000), (100, 20_000), (65_536, 20)):
        chunks = b"%x\r\n%s\r\n" % (size, bytes(size)) * count + b"0\r\n\r\n"
        assert answer_to(server, CHUNKED + chunks).startswith(b"HTTP/1.1 415"), size


def test_a_long_head_is_read_and_a_longer_one_refused(server):
    head = b"GET /livez HTTP/1.1\r\nHost: x\r\nX: "
    assert answer_to(server, head + b"a" * 60_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert answer_to(server, head + b"a" * 300_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_accepted_recordings_are_answered_before_the_server_ends(patient_server):
    server = patient_server
    with many_songs(server):
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 503, "/readyz is false at once")
        assert httpx.get(f"{server.url}/livez").status_code == 200
        body = server.health().json()
        assert body["message"].startswith("Health check failed: draining: ")
    assert server.process.wait(PATIENCE_SECONDS) == 0


def test_a_signal_to_every_process_of_the_service_loses_nothing(patient_server):
    """systemd sends the signal to each process."""
    server = patient_server
    processes = [server.process.pid, *_descendants(server.process.pid)]
    with many_songs(server):
        for pid in reversed(processes):
            os.kill(pid, signal.SIGTERM)
    assert server.process.wait(PATIENCE_SECONDS) == 0


def test_a_killed_front_process_leaves_nothing_behind(own_server):
    server = own_server
    worker = server.health().json()["workers"][0]["pid"]
    left = [worker, *_descendants(server.process.pid)]
    assert len(left) >= 3
    stuck = threading.Thread(target=_send_without_answer, args=(server, SONG + b"ccmusic-fault:hold-gil"))
    stuck.start()
    wait_until(lambda: server.health().json()["queue"]["running"] == 1, "the worker is busy")
    server.process.kill()
    wait_until(lambda: not any(_runs(pid) for pid in left), "every process has ended")
    stuck.join()
    with listen("127.0.0.1", httpx.URL(server.url).port):
        pass  # the port is free


def test_a_client_whose_request_does_not_arrive_is_disconnected(server):
    for start in (b"", b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: "):
        with connection(server) as client:
            client.sendall(start)
            assert client.recv(100) == b""
    assert server.health().status_code == 200


def test_a_client_whose_second_request_does_not_arrive_is_disconnected(server):
    with connection(server) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /li")
        received = b"x"
        while received:
            received = client.recv(65536)  # the rest of the first answer, and then the end


def test_a_pause_of_the_server_is_not_counted_against_its_clients(model_directory):
    limit, song = 5.0, wav(tone(440, 1.0))
    with running_server(
        "--no-page",
        "--workers",
        "1",
        CCMUSIC_MODEL=str(model_directory),
        CCMUSIC_UPLOAD_IDLE_SECONDS=str(limit),
        CCMUSIC_UPLOAD_TIMEOUT_SECONDS=str(limit),
    ) as server:
        server.wait_healthy()
        head = (
            f"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: {len(song)}\r\n\r\n"
        )
        request = head.encode() + song
        with connection(server) as half_a_head, connection(server) as half_a_body:
            half_a_head.sendall(request[:20])
            half_a_body.sendall(request[: -len(song) // 2])
            assert server.health().status_code == 200  # sent later, so the others have arrived
            server.process.send_signal(signal.SIGSTOP)
            end = time.monotonic() + limit + 1
            wait_until(lambda: time.monotonic() > end, "a pause longer than the limits")
            server.process.send_signal(signal.SIGCONT)
            assert server.health().status_code == 200  # the loop has turned, and its timers were due
            half_a_head.sendall(request[20:])
            half_a_body.sendall(request[-len(song) // 2 :])
            for client in (half_a_head, half_a_body):
                assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_an_upload_that_stops_is_refused_and_closed(server):
    with connection(server) as client:
        client.sendall(
            b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: 9999\r\n\r\nRIFF"
        )
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"application/problem+json" in answer
    assert b"the request body arrived too slowly" in answer


def test_the_management_port_answers_while_the_loop_is_blocked(own_server):
    server = own_server
    headers = {"authorization": "Bearer secret"}
    httpx.post(f"{server.url}/debug/faults/block-loop?size=6", headers=headers).raise_for_status()

    def noticed() -> bool:
        report = httpx.get(f"{server.management}/livez?verbose")
        assert report.status_code == 200 or "[-]event_loop: blocked for" in report.text
        return report.status_code == 503

    wait_until(noticed, "the blocked loop is noticed")
    wait_until(lambda: httpx.get(f"{server.management}/livez").status_code == 200, "the loop runs again")
    assert httpx.get(f"{server.management}/metrics").status_code == 200


def test_stack_dumps_need_no_token_on_the_management_port_only(own_server):
    server = own_server

    def worker() -> int | None:
        return server.health().json()["workers"][0]["pid"]

    def kept() -> bool:
        """A busy machine may cut a dump before it has begun; then the next worker is frozen."""
        server.wait_healthy()
        pid = worker()
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: worker() not in (pid, None), "it is replaced")
        return bool(server.health().json()["stack_dumps"])

    wait_until(kept, "a stack is kept")
    href = server.health().json()["stack_dumps"][0]["href"]
    assert "most recent call first" in httpx.get(f"{server.management}{href}").text
    assert httpx.get(f"{server.management}/debug/stack-dumps/99").status_code == 404
    assert httpx.get(f"{server.url}{href}").status_code == 401
    assert httpx.get(f"{server.url}{href}", headers={"authorization": "Bearer secret"}).status_code == 200


def _send_without_answer(server, recording: bytes) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.post(f"{server.url}/v1/classify", content=recording, headers=AUDIO, timeout=PATIENCE_SECONDS)


def _descendants(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    children = [int(line) for line in found.split()]
    return children + [grandchild for child in children for grandchild in _descendants(child)]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
