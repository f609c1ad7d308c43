"""One adapter per framework: how it starts, what its health endpoints are, where its workers are, how it is hurt."""

from __future__ import annotations

import json
import os
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

import processes

HERE = Path(__file__).parent
LOOP, CORRUPT = b"FAULT loop", b"FAULT corrupt"  # as in rival_model.py, which needs the rival's environment
BOUNDARY = "health-rivals"
JOB_TIMEOUT_SECONDS = 10


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

    # what differs

    def command(self, port: int) -> list[str]:
        raise NotImplementedError

    def body(self, recording: bytes) -> tuple[bytes, dict[str, str]]:
        """A request that classifies a recording."""
        return multipart(recording)

    def workers(self) -> set[int]:
        """The processes that could answer now; a rival's worker is listed once its model is loaded."""
        pids = {int(mark.name.rpartition("-")[2]) for mark in self._marks.glob("worker-*")}
        return {pid for pid in pids if processes.runs(pid)}

    def loop(self) -> None:
        """Make the handler of one request loop for ever. Returns at once."""
        self._send_and_forget(LOOP)

    def corrupt(self) -> str:
        """Alter the weights in the memory of one worker; what the service said about it."""
        status, answer = fetch(self.url + self.path, *self.body(CORRUPT), timeout=30)
        if status != 200 or not any(self._marks.glob("corrupted-*")):
            raise RuntimeError(f"not corrupted: {status} {answer[:200]!r}")
        return f"worker {json.loads(answer)['corrupted']} computes with altered weights"

    # what does not

    def __enter__(self) -> Adapter:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
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

    def environment(self) -> dict[str, str]:
        return os.environ | {"RIVAL_MARKS": str(self._marks), "OMP_NUM_THREADS": "1"}

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
            "CCMUSIC_FAULT_INJECTION": "true",
            "CCMUSIC_ADMIN_TOKEN": self._token,
            "CCMUSIC_JOB_TIMEOUT_SECONDS": str(JOB_TIMEOUT_SECONDS),
        }

    def body(self, recording: bytes) -> tuple[bytes, dict[str, str]]:
        self._recording = self._recording or recording
        return multipart(recording)

    def workers(self) -> set[int]:
        try:
            workers = json.loads(fetch(self.url + "/health")[1]).get("workers", [])
        except (OSError, ValueError):
            return set()
        return {worker["pid"] for worker in workers if worker.get("pid") and processes.runs(worker["pid"])}

    def loop(self) -> None:
        self._debug("hang-next")
        self._send_and_forget(self._recording)

    def corrupt(self) -> str:
        # A bit of the exponent, so that the answers are plainly wrong and still finite.
        return self._debug("corrupt-weights", "?size=25")

    def _debug(self, fault: str, query: str = "") -> str:
        status, answer = fetch(
            f"{self.url}/debug/faults/{fault}{query}", b"", {"Authorization": f"Bearer {self._token}"}, timeout=30
        )
        if status >= 300:
            raise RuntimeError(f"{fault} refused: {status} {answer[:200]!r}")
        return re.sub(r"\s+", " ", f"{fault}: {status} {answer.decode()[:100]}")


ADAPTERS: dict[str, type[Adapter]] = {"litserve": LitServe, "mosec": Mosec, "ccmusic": Ccmusic}
