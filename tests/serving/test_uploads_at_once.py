"""Many large uploads at once, and a service that is killed while it receives one."""

import gzip
import json
import re
import signal
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from ccmusic.serving.received import PREFIX
from support.recordings import bin_frequency, tone, wav
from support.running_server import RunningServer, running_server
from support.waiting import PATIENCE_SECONDS, wait_until

MIB = 2**20
COUNT, SIZE = 40, 8 * MIB
ON_DISK = 50 * MIB
FORM = b'--B\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'
RECORDING = wav(tone(bin_frequency(42), 4.0))


@pytest.fixture
def server(model_directory, tmp_path) -> Iterator[RunningServer]:
    with running_server(
        "--no-page",
        CCMUSIC_MODEL=str(model_directory),
        CCMUSIC_WORKERS="1",
        CCMUSIC_MAX_BYTES_ON_DISK=str(ON_DISK),
        CCMUSIC_MAX_CLIENT_SHARE="1",
        CCMUSIC_UPLOAD_IDLE_SECONDS=str(PATIENCE_SECONDS),
        TMPDIR=str(tmp_path),
    ) as running:
        running.wait_healthy()
        yield running


def begin_upload(server: RunningServer, form: bool = False) -> socket.socket:
    """A connection on which all of a recording but its last byte was sent, if the service took it."""
    host, port = server.url.removeprefix("http://").split(":")
    head = FORM if form else b""
    kind = "multipart/form-data; boundary=B" if form else "audio/wav"
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)
    try:
        connection.sendall(
            f"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {SIZE + len(head)}\r\n\r\n".encode()
            + head
        )
        for _ in range(SIZE // MIB - 1):
            connection.sendall(bytes(MIB))
        connection.sendall(bytes(MIB - 1))
    except OSError:  # refused: the answer is there
        pass
    return connection


def refusal(connection: socket.socket) -> bytes:
    """The answer of a request that was refused; empty if it was not."""
    connection.settimeout(0.2)
    try:
        return connection.recv(4000)
    except TimeoutError:
        return b""


def resident_bytes(server: RunningServer) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024


def held_bytes(server: RunningServer, name: str = "ccmusic_held_bytes") -> float:
    """What ``/metrics`` says of the bytes on disk."""
    text = httpx.get(f"{server.url}/metrics").text
    return float(re.search(rf'^{name}{{place="disk"}} (.+)$', text, re.MULTILINE)[1])


def files(directory: Path) -> list[Path]:
    return [path for path in directory.glob(f"{PREFIX}*/*") if path.is_file()]


@pytest.mark.parametrize("form", [False, True])
def test_many_large_uploads_fill_neither_memory_nor_disk(server, tmp_path, form):
    before = resident_bytes(server)
    with ExitStack() as stack:
        held = [stack.enter_context(begin_upload(server, form)) for _ in range(COUNT)]
        answers = [refusal(each) for each in held]
        assert Counter(answer[9:12] for answer in answers) == {b"": 6, b"503": COUNT - 6}
        assert held_bytes(server) == 6 * (SIZE + (len(FORM) if form else 0))
        assert held_bytes(server, "ccmusic_max_held_bytes") == ON_DISK
        assert all(b"retry-after: 5" in answer and b'"overloaded"' in answer for answer in answers if answer)
        wait_until(lambda: sum(path.stat().st_size for path in files(tmp_path)) > 5 * SIZE, "six are received")
        assert sum(path.stat().st_size for path in files(tmp_path)) <= ON_DISK
        assert resident_bytes(server) - before < 3 * SIZE, "one that is held in memory costs at least 8 MiB"
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        honest = httpx.post(f"{server.url}/v1/classify", content=RECORDING, headers={"content-type": "audio/wav"})
        assert honest.status_code == 200
    wait_until(lambda: not files(tmp_path), "the files of uploads that were broken off are deleted")
    assert held_bytes(server) == 0
    with begin_upload(server, form) as again:
        assert refusal(again) == b"", "there is room again"


def test_a_recording_from_a_file_gets_the_same_answer(server, tmp_path):
    long = wav(tone(bin_frequency(42), 120.0))
    assert len(long) > 4 * MIB
    for arguments in (
        {"content": long, "headers": {"content-type": "audio/wav"}},
        {"files": {"audio": ("a.wav", long)}},
        {"content": (long[i : i + MIB] for i in range(0, len(long), MIB)), "headers": {"content-type": "audio/wav"}},
    ):
        answer = httpx.post(f"{server.url}/v1/classify", timeout=PATIENCE_SECONDS, **arguments)
        assert answer.status_code == 200, answer.text
        assert answer.json()["duration_seconds"] == pytest.approx(120.0)
    assert files(tmp_path) == []


def test_the_files_of_a_killed_service_are_deleted_by_the_next_one(server, model_directory, tmp_path):
    with begin_upload(server):
        wait_until(lambda: files(tmp_path), "the file is there")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    assert files(tmp_path)
    with running_server("--no-page", CCMUSIC_MODEL=str(model_directory), CCMUSIC_WORKERS="1", TMPDIR=str(tmp_path)):
        wait_until(lambda: not list(tmp_path.glob(f"{PREFIX}*")), "they are deleted at the start")


def test_tensors_from_a_file_get_the_same_answer(server):
    long = wav(tone(bin_frequency(42), 120.0))
    tensor = {
        "name": "audio",
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(long) + 4},
    }
    head = json.dumps({"inputs": [tensor]}).encode()
    body = head + struct.pack("<I", len(long)) + long
    answers = []
    for content, encoding in ((body, "identity"), (gzip.compress(body, 1), "gzip")):
        headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Encoding": encoding}
        answer = httpx.post(
            f"{server.url}/v2/models/ccmusic/infer", content=content, headers=headers, timeout=PATIENCE_SECONDS
        )
        assert answer.status_code == 200, answer.text
        answers.append(answer.json())
    assert answers[0] == answers[1]
