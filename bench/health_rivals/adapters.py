"""One adapter per framework: how it starts, what its health endpoints are, where its workers are, how it is hurt."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import processes
from observe import Ranking

from ccmusic.models.store import EMBEDDED_DIRECTORY
from ccmusic.workers.records import READY_STATES

HERE = Path(__file__).parent
LOOP, CORRUPT = b"FAULT loop", b"FAULT corrupt"  # as in rival_model.py, which needs the rival's environment
BOUNDARY = "health-rivals"
JOB_TIMEOUT_SECONDS = 10
LOOP_STAGE_SECONDS = 4.0  # in one stage of a recording that takes a tenth of a second


def multipart(body: bytes) -> tuple[bytes, dict[str, str]]:
    """A recording as the form field ``audio``."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="audio"; filename="a.ogg"\r\n\r\n'
    return head.encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode(), {
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"
    }


def fetch(
    url: str, body: bytes | None = None, headers: dict[str, str] | None = None, timeout: float = 5
) -> tuple[int, bytes]:
    """Status and body of a request on a connection of its own, whatever the status is."""
    request = urllib.request.Request(url, body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _all_free(first: int, count: int) -> bool:
    """Whether nothing listens on any of these ports."""
    for port in range(first, first + count):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return False
    return True


class Adapter:
    """A framework under test; a context in which its service runs.

    Parameters
    ----------
    python : Path
        The interpreter of the environment in which the framework is installed.
    log : Path
        Where the service's output goes.
    """

    name: str
    settings: str
    endpoints: tuple[str, ...]
    path: str

    def __init__(self, python: Path, log: Path) -> None:
        self.python, self.log = python, log
        self.url = ""
        self._marks = Path(tempfile.mkdtemp(prefix="health-rivals-"))
        self.model = Path(shutil.copytree(EMBEDDED_DIRECTORY, self._marks / "model"))

    # what differs

    def command(self, port: int) -> list[str]:
        raise NotImplementedError

    def body(self, recording: bytes) -> tuple[bytes, dict[str, str]]:
        """A request that classifies a recording."""
        return multipart(recording)

    def ranking(self, answer: bytes) -> Ranking:
        """Genres and their probabilities in an answer; empty if it is none."""
        try:
            return {p["genre"]: p["probability"] for p in json.loads(answer)["predictions"]}
        except (ValueError, KeyError, TypeError):
            return {}

    def probes(self) -> dict[str, tuple[str, str]]:
        """The address and the path of each health endpoint, under the name that the page gives it."""
        return {path: (self.url, path) for path in self.endpoints}

    def workers(self) -> set[int]:
        """The processes that could answer now; a rival's worker is listed once its model is loaded."""
        pids = {int(mark.name.rpartition("-")[2]) for mark in self._marks.glob("worker-*")}
        return {pid for pid in pids if processes.runs(pid)}

    def loop(self) -> None:
        """Make the handler of one request loop for ever. Returns at once."""
        self._send_and_forget(LOOP)

    def looping(self) -> int | None:
        """The worker that is in the endless loop; None until it is."""
        return next((int(mark.name.rpartition("-")[2]) for mark in self._marks.glob("looping-*")), None)

    def corrupt(self) -> tuple[str, int]:
        """Alter the weights in the memory of one worker; what the service said about it, and which process it is."""
        status, answer = fetch(self.url + self.path, *self.body(CORRUPT), timeout=30)
        if status != 200 or not any(self._marks.glob("corrupted-*")):
            raise RuntimeError(f"not corrupted: {status} {answer[:200]!r}")
        (pid,) = (int(mark.name.rpartition("-")[2]) for mark in self._marks.glob("corrupted-*"))
        return f"worker {pid} computes with altered weights", pid

    # what does not

    def __enter__(self) -> Adapter:
        port = self.free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._output = self.log.open("wb")
        self._process = subprocess.Popen(
            self.command(port),
            stdout=self._output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=self.environment(),
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        # SIGKILL to the session that we opened: a stopped or looping worker would not hear anything gentler.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()
        shutil.rmtree(self._marks, ignore_errors=True)

    def free_port(self) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    def environment(self) -> dict[str, str]:
        marks, model = str(self._marks), str(self.model)
        return os.environ | {"RIVAL_MARKS": marks, "RIVAL_MODEL": model, "OMP_NUM_THREADS": "1"}

    def processes(self) -> set[int]:
        """Every process of the service."""
        return processes.of_session(self._process.pid)

    def alive(self) -> bool:
        """Whether the process that we started still runs."""
        return self._process.poll() is None

    def _send_and_forget(self, recording: bytes) -> None:
        def send() -> None:
            with suppress(OSError):
                fetch(self.url + self.path, *self.body(recording), timeout=120)

        threading.Thread(target=send, daemon=True).start()


class LitServe(Adapter):
    """`/` is not a health endpoint in its documentation, `/health` is."""

    name = "LitServe"
    settings = "`restart_workers=True` (default: off; a worker's death ends it), `timeout=10` (default 30)"
    endpoints = ("/health",)
    path = "/predict"

    def command(self, port: int) -> list[str]:
        return [str(self.python), str(HERE / "litserve_server.py"), str(port)]


class Mosec(Adapter):
    """`GET /` answers while its server runs; nothing else of it speaks of health."""

    name = "mosec"
    settings = "`--timeout 10000` and `append_worker(timeout=10)` (default 3 s each)"
    endpoints = ("/",)
    path = "/inference"

    def command(self, port: int) -> list[str]:
        options = ["--address", "127.0.0.1", "--port", str(port), "--timeout", str(1000 * JOB_TIMEOUT_SECONDS)]
        options += ["--path", str(self._marks / "sockets")]
        return [str(self.python), str(HERE / "mosec_server.py"), *options]

    def body(self, recording: bytes) -> tuple[bytes, dict[str, str]]:
        return recording, {"Content-Type": "application/octet-stream"}


class Dynamo(Adapter):
    """Its frontend, and the system port of each worker, which Kubernetes probes."""

    name = "Dynamo"
    settings = (
        "`DYN_HEALTH_CHECK_ENABLED=true` (default off without Kubernetes), `DYN_CANARY_WAIT_TIME=1` (default 10), "
        "`--migration-limit 3` (default 0), "
        "`DYN_HTTP_BACKEND_STREAM_TIMEOUT_SECS=10`, file discovery; see below"
    )
    endpoints = ("/health", "worker 1: /health", "worker 2: /health")
    path = "/v1/chat/completions"

    def command(self, port: int) -> list[str]:
        return [str(self.python), str(HERE / "dynamo_server.py"), str(port)]

    def body(self, recording: bytes) -> tuple[bytes, dict[str, str]]:
        content = base64.b64encode(recording).decode()
        message = {"model": "genres", "messages": [{"role": "user", "content": content}]}
        return json.dumps(message).encode(), {"Content-Type": "application/json"}

    def ranking(self, answer: bytes) -> Ranking:
        try:
            return super().ranking(json.loads(answer)["choices"][0]["message"]["content"])
        except (ValueError, KeyError, TypeError, IndexError):
            return {}

    def free_port(self) -> int:
        # It reads the system port as a signed 16-bit number; each of our services needs three ports in a row.
        return next(port for port in iter(lambda: random.randrange(20_000, 32_000), 0) if _all_free(port, 3))

    def probes(self) -> dict[str, tuple[str, str]]:
        host, _, port = self.url.rpartition(":")
        return {name: (f"{host}:{int(port) + number}", "/health") for number, name in enumerate(self.endpoints)}


class Ccmusic(Adapter):
    """Our own service, with its doors for faults opened."""

    name = "CCMusic"
    settings = f"`CCMUSIC_JOB_TIMEOUT_SECONDS={JOB_TIMEOUT_SECONDS}` (default 120), `--no-page`"
    endpoints = ("/health", "/readyz", "/livez")
    path = "/v1/classify"

    def __init__(self, python: Path, log: Path) -> None:
        super().__init__(python, log)
        self._token = secrets.token_urlsafe(16)
        self._recording = b""

    def command(self, port: int) -> list[str]:
        listen = ["--host", "127.0.0.1", "--port", str(port), "--no-page", "--workers", "2"]
        return [str(self.python), "-m", "ccmusic.cli", "serve", *listen]

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "CCMUSIC_MODEL": str(self.model),
            "CCMUSIC_FAULT_INJECTION": "true",
            "CCMUSIC_ADMIN_TOKEN": self._token,
            "CCMUSIC_JOB_TIMEOUT_SECONDS": str(JOB_TIMEOUT_SECONDS),
        }

    def body(self, recording: bytes) -> tuple[bytes, dict[str, str]]:
        self._recording = self._recording or recording
        return multipart(recording)

    def workers(self) -> set[int]:
        loaded = (worker for worker in self._workers() if worker["state"] in READY_STATES)
        return {worker["pid"] for worker in loaded if worker["pid"] and processes.runs(worker["pid"])}

    def _workers(self) -> list[dict[str, Any]]:
        try:
            return list(json.loads(fetch(self.url + "/health")[1]).get("workers", []))
        except (OSError, ValueError):
            return []

    def loop(self) -> None:
        self._debug("hang-next")
        self._send_and_forget(self._recording)

    def looping(self) -> int | None:
        long = (worker for worker in self._workers() if (worker["stage_seconds"] or 0) >= LOOP_STAGE_SECONDS)
        return next((worker["pid"] for worker in long if worker["stage"] != "idle"), None)

    def corrupt(self) -> tuple[str, int]:
        victim = self._workers()[0]["pid"]
        # A bit of the exponent, so that the answers are plainly wrong and still finite.
        return self._debug("corrupt-weights", "?size=25&worker=0"), victim

    def _debug(self, fault: str, query: str = "") -> str:
        status, answer = fetch(
            f"{self.url}/debug/faults/{fault}{query}", b"", {"Authorization": f"Bearer {self._token}"}, timeout=30
        )
        if status >= 300:
            raise RuntimeError(f"{fault} refused: {status} {answer[:200]!r}")
        return re.sub(r"\s+", " ", f"{fault}: {status} {answer.decode()[:100]}")


ADAPTERS: dict[str, type[Adapter]] = {"litserve": LitServe, "mosec": Mosec, "dynamo": Dynamo, "ccmusic": Ccmusic}
