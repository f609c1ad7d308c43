"""Hostile clients against the real service, one kind at a time: what an honest client and the probes notice.

    python bench/clients.py [--seconds 20] [--only NAME ...]

Each kind gets a new `ccmusic serve` with the page. The hostile clients run in a process of their own, from the
addresses 127.0.0.2 to 127.0.0.6 (Linux only); a second after the end of a connection they open another. The honest
client sends a recording of two seconds, waits a fifth of a second, and sends it again, from 127.0.0.1.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import io
import itertools
import json
import multiprocessing
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

STRANGER = "127.0.0.2"
FIVE = tuple(f"127.0.0.{number}" for number in range(2, 7))
ESTABLISHED = 1
LARGE_BYTES = 20 * 2**20
RATE = 22050
TIMES = np.arange(240 * RATE) / RATE


def recording(seconds: float, form: str = "WAV", frequency: float = 440.0) -> bytes:
    """The bytes of a file with a tone."""
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.4 * np.sin(2 * np.pi * frequency * TIMES[: int(seconds * RATE)]), RATE, format=form)
    return buffer.getvalue()


SHORT = recording(2.0)


def post(path: str, kind: str, length: int) -> bytes:
    """The head of a POST request."""
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()


# what the hostile clients do with one connection


async def never_reads(port: int, address: str, number: int) -> None:
    """Ask for much and read nothing."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        client.bind((address, 0))
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, b"GET /config HTTP/1.1\r\nHost: x\r\n\r\n" * 60)
        # TCP_INFO begins with the state of the connection
        while client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == ESTABLISHED:  # noqa: ASYNC110
            await asyncio.sleep(1)


def drips(head: bytes, drop: bytes) -> Callable[[int, str, int], Awaitable[None]]:
    """Send the head, then one drop every two seconds."""

    async def drip(port: int, address: str, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        ended = asyncio.ensure_future(reader.read())
        try:
            writer.write(head.replace(b"NUMBER", str(number).encode()))
            while not ended.done():
                await asyncio.wait({ended}, timeout=2)
                writer.write(drop)
                await writer.drain()
        finally:
            ended.cancel()
            writer.close()

    return drip


def sends(head: bytes, body: bytes) -> Callable[[int, str, int], Awaitable[None]]:
    """Send a whole request and read the answer."""

    async def send(port: int, address: str, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        try:
            writer.write(head + body[:-8] + number.to_bytes(8, "big"))
            await writer.drain()
            status = await asyncio.wait_for(reader.readline(), 200)
            if b" 200 " not in status:
                await asyncio.sleep(0.2)
        finally:
            writer.close()

    return send


FORM = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
UPLOAD = FORM + bytes(LARGE_BYTES) + b"\r\n--B--\r\n        "
HEAVY = recording(240.0, "FLAC")
HANGS = recording(1.0)


@dataclass
class Kind:
    """One kind of hostile client: its connections, each with an address and what it does."""

    name: str
    crowd: list[tuple[str, Callable[[int, str, int], Awaitable[None]]]]
    descriptors: int | None = None
    settings: dict[str, str] = field(default_factory=dict)
    interval: float = 0.0


def _poisoned() -> Callable[[int, str, int], Awaitable[None]]:
    mark = b"ccmusic-fault:hang"
    numbers = itertools.count(1)

    async def send(port: int, address: str, number: int) -> None:
        body = recording(1.0, frequency=200.0 + next(numbers)) + mark
        head = post("/v1/classify", "audio/wav", len(body))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        try:
            writer.write(head + body)
            status = await asyncio.wait_for(reader.readline(), 200)
            if b" 504 " not in status:
                await asyncio.sleep(0.2)
        finally:
            writer.close()

    return send


def kinds() -> list[Kind]:
    """All kinds."""
    slow = drips(post("/v1/classify", "audio/wav", 1_000_000), b"a")
    head = drips(b"GET / HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n")
    stream = drips(b"GET /gradio_api/heartbeat/hNUMBER HTTP/1.1\r\nHost: x\r\n\r\n", b"")
    heavy = sends(post("/v1/classify", "audio/flac", len(HEAVY)), HEAVY)
    upload = sends(post("/gradio_api/upload", "multipart/form-data; boundary=B", len(UPLOAD)), UPLOAD)
    return [
        Kind("nobody", []),
        Kind("300 slow readers", [(STRANGER, never_reads)] * 300),
        Kind("300 slow writers", [(STRANGER, slow)] * 300),
        Kind("400 connections, ulimit -n 400", [(STRANGER, head)] * 400, descriptors=400),
        Kind("300 event streams", [(STRANGER, stream)] * 300),
        Kind("one stranger in the queue", [(STRANGER, heavy)] * 100),
        Kind("five strangers, queue and disk", [(a, heavy) for a in FIVE] * 20 + [(a, upload) for a in FIVE] * 2),
        Kind(
            "one stranger whose files hang workers",
            [(STRANGER, _poisoned())] * 4,
            settings={"CCMUSIC_FAULT_INJECTION": "true", "CCMUSIC_JOB_TIMEOUT_SECONDS": "3"},
        ),
    ]


def attack(name: str, port: int) -> None:
    """Keep every connection of one kind in use, for ever."""
    kind = next(kind for kind in kinds() if kind.name == name)

    async def keep(number: int, address: str, use: Callable[[int, str, int], Awaitable[None]]) -> None:
        while True:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await use(port, address, number)
            await asyncio.sleep(1)

    async def crowd() -> None:
        await asyncio.gather(*(keep(n, *one) for n, one in enumerate(kind.crowd)))

    os.nice(5)
    asyncio.run(crowd())


# what is measured


class Honest:
    """Sends one request after another and notes times and statuses."""

    def __init__(self, port: int, method: str, path: str, body: bytes | None, pause: float) -> None:
        self.times: list[float] = []
        self.statuses: Counter[str] = Counter()
        self._request = method, path, body, {"Content-Type": "audio/wav"} if body else {}
        self._port, self._pause = port, pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            began = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            try:
                connection.request(*self._request)
                answer = connection.getresponse()
                answer.read()
                status = str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                status = type(error).__name__
            connection.close()
            self.times.append(time.perf_counter() - began)
            self.statuses[status] += 1

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def rank(self, share: float) -> float:
        times = sorted(self.times)
        return times[min(len(times) - 1, int(share * len(times)))] if times else float("nan")


def resident_mb(pid: int) -> int:
    """Memory of a process."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))[1]) // 1024


@contextmanager
def service(kind: Kind) -> Iterator[tuple[int, int]]:
    """Start the service; yields its port and the id of its front process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ccmusic.cli", "serve", "--host", "127.0.0.1", "--port", "0"],
        env=os.environ | {"CCMUSIC_WORKERS": "2", "CCMUSIC_LOG_LEVEL": "error"} | kind.settings,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if kind.descriptors:
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (kind.descriptors, kind.descriptors))
        port = int(re.search(r"http://[\d.]+:(\d+)", process.stdout.readline())[1])
        while True:
            time.sleep(0.5)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/health")
            answer = connection.getresponse()
            body = json.loads(answer.read())
            if answer.status == 200 and body["checks"]["page"]["status"] == "pass":
                break
        yield port, process.pid
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def measure(kind: Kind, seconds: float) -> str:
    """A line of the table."""
    with service(kind) as (port, pid):
        before = resident_mb(pid)
        attacker = multiprocessing.get_context("spawn").Process(target=attack, args=(kind.name, port), daemon=True)
        attacker.start()
        time.sleep(4)  # until it has its connections
        honest = Honest(port, "POST", "/v1/classify", SHORT, 0.2)
        probes = [Honest(port, "GET", path, None, 0.2) for path in ("/livez", "/readyz")]
        peak = 0
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            peak = max(peak, resident_mb(pid))
            time.sleep(0.2)
        for one in (honest, *probes):
            one.end()
        attacker.terminate()
        attacker.join()
    wrong = {status: n for status, n in honest.statuses.items() if status != "200"}
    not_ready = {s: n for probe in probes for s, n in probe.statuses.items() if s != "200"}
    probe_99 = max(probe.rank(0.99) for probe in probes)
    return (
        f"| {kind.name} | {len(honest.times)} | {statistics.median(honest.times):.2f} | {honest.rank(0.99):.2f} "
        f"| {wrong or 0} | {probe_99:.2f} | {not_ready or 0} | {before} | {peak} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", nargs="*", default=[], help="parts of names")
    options = parser.parse_args()
    titles = (
        "hostile clients",
        "recordings",
        "p50 s",
        "p99 s",
        "not 200",
        "probe p99 s",
        "probes not 200",
        "MB",
        "most MB",
    )
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for kind in kinds():
        if not options.only or any(part in kind.name for part in options.only):
            print(measure(kind, options.seconds), flush=True)


if __name__ == "__main__":
    main()
