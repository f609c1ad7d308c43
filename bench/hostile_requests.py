"""What hostile requests and many uploads at once cost the service: delay of its event loop, memory, other clients.

Starts a service of its own. The delay of the event loop is measured inside it, as the processor time that passes
between two turns of the loop: a busy machine does not change it.

    python bench/hostile_requests.py [WORD...]      # only the cases whose name contains one of the words
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MIB = 2**20
SERVE = r"""
import asyncio, mmap, os, struct, sys, time
import uvicorn
page = mmap.mmap(int(os.environ.pop("LOOP_DELAY_FD")), 16)
startup = uvicorn.Server.startup
async def watch():
    cpu, wall = time.process_time(), time.perf_counter()
    while True:
        await asyncio.sleep(0.005)
        now, clock = time.process_time(), time.perf_counter()
        most_cpu, most_wall = struct.unpack("dd", page[:16])
        page[:16] = struct.pack("dd", max(most_cpu, now - cpu), max(most_wall, clock - wall - 0.005))
        cpu, wall = now, clock
async def start(self, *arguments, **options):
    await startup(self, *arguments, **options)
    self.watching = asyncio.ensure_future(watch())
uvicorn.Server.startup = start
from ccmusic.cli import main
sys.exit(main(["serve", "--host", "127.0.0.1", "--port", "0", "--workers", "2"]))
"""


class Service:
    """A running service, with the greatest delay of its event loop since the last look."""

    def __init__(self, process: subprocess.Popen[str], port: int, page: int) -> None:
        self.process, self.port, self._page = process, port, page

    def loop_delay(self) -> tuple[float, float]:
        """Greatest processor time and greatest wall time between two turns, in seconds; starts again at 0."""
        import struct

        found = struct.unpack("dd", os.pread(self._page, 16, 0))
        os.pwrite(self._page, bytes(16), 0)
        return found

    def memory(self) -> int:
        """Resident memory of the front process, in MiB."""
        return _resident(self.process.pid)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
        seconds: float = 60.0,
        most: int = 64 * MIB,
    ) -> tuple[int | str, bytes]:
        """Status and body of an answer; the name of the error in place of the status if there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            try:
                connection.request(method, path, body, headers or {})
            except (BrokenPipeError, ConnectionResetError):
                if connection.sock is None:
                    raise
                connection._HTTPConnection__state = "Request-sent"  # refused while it was sent: read the answer
            response, answer = connection.getresponse(), b""
            while len(answer) < most and (piece := response.read1(65536)):
                answer += piece
        except Exception as error:
            return type(error).__name__, b""
        else:
            return response.status, answer
        finally:
            connection.close()

    def raw(self, content: bytes, seconds: float = 30.0) -> tuple[int | str, bytes]:
        """The same for bytes on a connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            answer = b""
            with suppress(OSError):
                connection.sendall(content)
            with suppress(OSError):
                while len(answer) < MIB and (piece := connection.recv(65536)):
                    answer += piece
        found = re.findall(rb"HTTP/1\.1 (\d+)", answer)
        return (int(found[-1]) if found else "closed"), answer.partition(b"\r\n\r\n")[2]


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024


@contextmanager
def running_service() -> Iterator[Service]:
    page = os.memfd_create("loop-delay")
    os.ftruncate(page, 4096)
    environment = {**os.environ, "LOOP_DELAY_FD": str(page), "CCMUSIC_DRAIN_LINGER_SECONDS": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdout=subprocess.PIPE,
        stderr=Path(os.environ.get("HOSTILE_LOG", os.devnull)).open("wb"),  # noqa: SIM115
        text=True,
        env=environment,
        pass_fds=[page],
    )
    try:
        found = re.search(r":(\d+)/", process.stdout.readline())
        service = Service(process, int(found[1]), page)
        while service.call("GET", "/health")[0] != 200 or b"gradio_config" not in service.call("GET", "/")[1]:
            time.sleep(0.2)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            os.close(page)


class Honest:
    """A client that sends a recording again and again, and one that asks for readiness."""

    def __init__(self, service: Service, recording: bytes) -> None:
        self._service, self._recording = service, recording
        self._ended = threading.Event()
        self.times: list[float] = []
        self.statuses: set[int | str] = set()
        self.probes: list[float] = []
        self._threads = [threading.Thread(target=each) for each in (self._classify, self._probe)]

    def __enter__(self) -> Honest:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _classify(self) -> None:
        while not self._ended.wait(0.1):
            began = time.perf_counter()
            status, _ = self._service.call("POST", "/v1/classify", self._recording, {"Content-Type": "audio/wav"})
            self.times.append(time.perf_counter() - began)
            self.statuses.add(status)

    def _probe(self) -> None:
        while not self._ended.wait(0.05):
            began = time.perf_counter()
            status, _ = self._service.call("GET", "/readyz")
            self.probes.append(time.perf_counter() - began)
            self.statuses.add(status)


JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=B"}
PART = b'--B\r\nContent-Disposition: form-data; name="%s"; filename="a.wav"\r\n\r\n'
INFER = "/v2/models/ccmusic/infer"
Case = Callable[[Service], object]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    return lambda function: CASES.setdefault(name, function)


def _lists(size: int) -> bytes:
    return b'{"inputs":[' + b"[]," * (size // 3) + b"[]]}"


def _page_call(data: bytes) -> bytes:
    return b'{"data":[' + data + b'],"fn_index":0,"session_hash":"bench"}'


case("infer: 16 MB of empty lists")(lambda s: s.call("POST", INFER, _lists(16 * MIB - 100), JSON))
case("infer: 16 MB of numbers")(lambda s: s.call("POST", INFER, b'{"inputs":[' + b"1," * (8 * MIB - 50) + b"1]}", JSON))
case("infer: 100,000 nested lists")(lambda s: s.call("POST", INFER, b"[" * 100_000 + b"]" * 100_000, JSON))
case("infer: 16 MB of one string")(
    lambda s: s.call(
        "POST",
        INFER,
        b'{"inputs":[{"name":"audio","datatype":"BYTES","shape":[1],"data":["' + b"A" * (16 * MIB - 200) + b'"]}]}',
        JSON,
    )
)
case("infer: 16 MB of escapes")(
    lambda s: s.call("POST", INFER, b'{"inputs":"' + rb"\u00e9" * (16 * MIB // 6 - 50) + b'"}', JSON)
)


@case("infer: one output 30,000 times")
def _outputs(service: Service) -> object:
    import base64

    recording = base64.b64encode(RECORDING).decode()
    request = {
        "inputs": [{"name": "audio", "datatype": "BYTES", "shape": [1], "data": [recording]}],
        "outputs": [{"name": "labels"}] * 30_000,
    }
    return service.call("POST", INFER, json.dumps(request).encode(), JSON)


@case("infer: an id of 10 MB")
def _id(service: Service) -> object:
    import base64

    recording = base64.b64encode(RECORDING).decode()
    request = {
        "id": "x" * 10 * MIB,
        "inputs": [{"name": "audio", "datatype": "BYTES", "shape": [1], "data": [recording]}],
    }
    return service.call("POST", INFER, json.dumps(request).encode(), JSON)


case("repository index: 90 MB of JSON")(
    lambda s: s.call("POST", "/v2/repository/index", _lists(90 * MIB), JSON, seconds=120)
)
case("page, queue: 90 MB of JSON")(
    lambda s: s.call("POST", "/gradio_api/queue/join", _page_call(b"[]," * (30 * MIB) + b"0"), JSON, seconds=180)
)
case("page, queue: 1 MB of empty lists")(
    lambda s: s.call("POST", "/gradio_api/queue/join", _page_call(b"[]," * 330_000 + b"0"), JSON)
)
case("page, call: 1 MB of empty lists")(
    lambda s: s.call("POST", "/gradio_api/call/classify", _page_call(b"[]," * 330_000 + b"0"), JSON)
)
case("page, queue: 900 nested lists")(
    lambda s: s.call("POST", "/gradio_api/queue/join", _page_call(b"[" * 900 + b"]" * 900), JSON)
)
case("page, queue: no JSON, 900 KB")(lambda s: s.call("POST", "/gradio_api/queue/join", b"x" * 900_000, JSON))
case("page, queue: a session of 1 MB")(
    lambda s: s.call(
        "POST", "/gradio_api/queue/join", b'{"data":[],"fn_index":0,"session_hash":"' + b"x" * MIB + b'"}', JSON
    )
)
case("chunks of one byte, 6 MB")(
    lambda s: s.raw(
        b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: audio/wav\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * MIB + b"0\r\n\r\n",
        seconds=90,
    )
)
case("page, upload: chunks of one byte, 6 MB")(
    lambda s: s.raw(
        b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: multipart/form-data; boundary=B\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n" % len(PART % b"files")
        + PART % b"files"
        + b"\r\n"
        + b"1\r\nx\r\n" * MIB
        + b"0\r\n\r\n",
        seconds=90,
    )
)
case("form: 1 MB of dashes before it")(
    lambda s: s.call("POST", "/v1/classify", b"-" * MIB + PART % b"audio" + RECORDING + b"\r\n--B--\r\n", FORM)
)
case("form: 50 MB of line ends in the file")(
    lambda s: s.call(
        "POST", "/v1/classify", PART % b"audio" + b"\r\n-" * (16 * MIB) + b"\r\n--B--\r\n", FORM, seconds=120
    )
)
case("page, upload: 50 MB of line ends in the file")(
    lambda s: s.call(
        "POST", "/gradio_api/upload", PART % b"files" + b"\r\n-" * (16 * MIB) + b"\r\n--B--\r\n", FORM, seconds=120
    )
)
case("page, upload: 10,000 files")(
    lambda s: s.call(
        "POST", "/gradio_api/upload", (PART % b"files" + b"x\r\n") * 10_000 + b"--B--\r\n", FORM, seconds=120
    )
)
case("page, upload: 200,000 fields")(
    lambda s: s.call(
        "POST",
        "/gradio_api/upload",
        b'--B\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n' * 200_000 + b"--B--\r\n",
        FORM,
        seconds=120,
    )
)
case("60 KB of cookies")(lambda s: s.call("GET", "/", headers={"Cookie": 'a="' + "\\" * 60_000 + '"'}))
case("60 KB of Accept-Language")(
    lambda s: s.call("POST", "/gradio_api/run/status", b'{"data":[]}', JSON | {"Accept-Language": "zh;q=0.1," * 6_600})
)
case("60 KB of Referer")(lambda s: s.call("GET", "/config", headers={"Referer": "http://x/?" + "a=%41&" * 9_000}))
case("60 KB of X-Forwarded-Host")(lambda s: s.call("GET", "/", headers={"X-Forwarded-Host": "a," * 30_000}))
case("60 KB of Accept")(lambda s: s.call("GET", "/health", headers={"Accept": "a/b;q=0.1," * 6_000}))
case("60 KB of query")(lambda s: s.call("GET", "/v1/genres?" + "a=1&" * 15_000))
case("60 KB of content type")(
    lambda s: s.call("POST", "/v1/classify", b"x", {"Content-Type": "multipart/form-data; " + 'a="b";' * 10_000})
)
case("a parameter of 60 KB")(lambda s: s.call("POST", "/v1/classify?windows=" + "x" * 60_000, b"", {}))
case("windows=1000, top_k=16, a long recording")(
    lambda s: s.call(
        "POST",
        "/v1/classify?windows=1000&top_k=16",
        _wave(1700),
        {"Content-Type": "audio/wav"},
        seconds=170,
    )
)


def _held(service: Service, count: int, size: int, path: str, head: bytes, content_type: str) -> list[socket.socket]:
    """Uploads of which only the last byte is missing."""
    block = bytes(MIB)
    lock = threading.Lock()
    held: list[socket.socket] = []
    answers: dict[str, int] = {}

    def send() -> None:
        connection = socket.create_connection(("127.0.0.1", service.port), timeout=120)
        length = size * MIB + len(head)
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {length}\r\n\r\n".encode()
            + head
        )
        answer = b""
        with suppress(OSError):
            for _ in range(size - 1):
                connection.sendall(block)
            connection.sendall(block[:-1])
        connection.settimeout(0.5)
        with suppress(OSError):
            answer = connection.recv(300)
        with lock:
            held.append(connection)
            status = answer[9:12].decode() or "held"
            answers[status] = answers.get(status, 0) + 1

    threads = [threading.Thread(target=send) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _held.answers = answers  # type: ignore[attr-defined]
    return held


def _hold(service: Service, path: str, head: bytes, content_type: str) -> tuple[str, bytes]:
    held = _held(service, int(os.environ.get("HOLD", "100")), 50, path, head, content_type)
    time.sleep(1)
    note = f"front {service.memory()} MiB while held, {_held.answers}"  # type: ignore[attr-defined]
    for connection in held:
        connection.close()
    time.sleep(3)
    return note + f", {service.memory()} after", b""


case("100 uploads of 50 MB, raw")(lambda s: _hold(s, "/v1/classify", b"", "audio/wav"))
case("100 uploads of 50 MB, form")(lambda s: _hold(s, "/v1/classify", PART % b"audio", FORM["Content-Type"]))
case("100 uploads of 50 MB, page")(lambda s: _hold(s, "/gradio_api/upload", PART % b"files", FORM["Content-Type"]))


def _wave(seconds: float) -> bytes:
    import io
    import wave

    import numpy as np

    t = np.arange(int(22050 * seconds))
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(22050)
        file.writeframes((9000 * np.sin(t * 0.06) * np.sin(t * 0.0003)).astype("<i2").tobytes())
    return content.getvalue()


RECORDING = _wave(12)


def _row(service: Service, name: str, before: int) -> str:
    peak = [before]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            peak.append(service.memory())

    watching = threading.Thread(target=watch)
    with Honest(service, RECORDING) as honest:
        time.sleep(0.5)
        service.loop_delay()
        watching.start()
        began = time.perf_counter()
        status, answer = CASES[name](service)
        seconds = time.perf_counter() - began
        time.sleep(0.3)
        ended.set()
        watching.join()
        cpu, wall = service.loop_delay()
    times = sorted(honest.times)
    return (
        f"| {name} | {status} | {len(answer):,} | {seconds:.1f} | {cpu:.3f} | {wall:.2f} | {before} | {max(peak)} | "
        f"{statistics.median(times):.2f} | {times[int(0.99 * (len(times) - 1))]:.2f} | {max(honest.probes):.2f} | "
        f"{sorted(map(str, honest.statuses))} | {answer[:80]!r}"
    )


def main() -> None:
    words = sys.argv[1:]
    print(
        "| case | answer | bytes | s | loop cpu s | loop wall s | front MiB | peak | p50 | p99 | probe max | statuses |"
    )
    with running_service() as service:
        for name in CASES:
            if not words or any(word in name for word in words):
                print(_row(service, name, service.memory()), flush=True)
        print(
            service.call("GET", "/readyz"),
            sum(f.stat().st_size for f in Path(tempfile.gettempdir()).glob("ccmusic-page-*/**/*") if f.is_file()) / MIB,
            "MiB in upload directories",
        )


if __name__ == "__main__":
    main()
