"""The two examples as a reader would start them, each in a process of its own."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from support.ports import free_port
from support.waiting import PATIENCE_SECONDS, wait_until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "health_of_your_own"
RULE = "# " + 118 * "-"
LINES = 20


@contextmanager
def running(*command, cwd, **environment):
    process = subprocess.Popen(
        [sys.executable, *command], cwd=cwd, env=os.environ | environment | {"PYTHONPATH": str(EXAMPLES)}
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
            process.wait()


def status(url):
    try:
        return httpx.get(url, timeout=PATIENCE_SECONDS).status_code
    except httpx.TransportError:
        return None


def message(url):
    try:
        return httpx.get(url, timeout=PATIENCE_SECONDS).json().get("message")
    except httpx.TransportError:
        return None


@pytest.mark.parametrize("name", ["fastapi_app.py", "gradio_app.py"])
def test_it_takes_less_than_twenty_lines(name):
    _, lines, _ = (EXAMPLES / name).read_text(encoding="utf-8").split(RULE)
    assert 5 < len([line for line in lines.splitlines() if line.strip()]) < LINES


def test_fastapi(tmp_path):
    (tmp_path / "model.txt").write_text("so la so fa", encoding="utf-8")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running("-m", "uvicorn", "fastapi_app:app", "--port", str(port), cwd=tmp_path):
        wait_until(lambda: status(f"{url}/health") == 200, "/health is 200")
        assert httpx.get(f"{url}/health").json()["service"] == "word-counter"
        assert httpx.get(f"{url}/count?word=so").json() == 2
        assert "[+]shelf ok\n" in httpx.get(f"{url}/readyz?verbose").text
        answer = httpx.get(f"{url}/health", headers={"Accept": "application/health+json"})
        assert answer.headers["content-type"] == "application/health+json"
        (tmp_path / "model.txt").unlink()
        wait_until(lambda: message(f"{url}/health") == "Model file not found: model.txt", "the message")
        assert status(f"{url}/health") == 503
        assert [status(f"{url}/{probe}") for probe in ("startupz", "livez", "readyz")] == [200, 200, 200]


def test_fastapi_without_its_file_at_first(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running("-m", "uvicorn", "fastapi_app:app", "--port", str(port), cwd=tmp_path):
        wait_until(lambda: message(f"{url}/health") == "Model file not found: model.txt", "the message")
        assert status(f"{url}/health") == 503
        (tmp_path / "model.txt").write_text("so la", encoding="utf-8")
        wait_until(lambda: status(f"{url}/health") == 200, "/health is 200")
        assert httpx.get(f"{url}/count?word=so").json() == 1


def test_gradio(tmp_path):
    pytest.importorskip("gradio")
    port, management = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "MANAGEMENT_PORT": str(management),
        "LOAD_SECONDS": "20",
    }
    with running(str(EXAMPLES / "gradio_app.py"), cwd=tmp_path, **environment):
        wait_until(lambda: status(f"{url}/livez") == 200, "/livez answers while the model loads")
        assert httpx.get(f"{url}/health").json()["message"] == "Model is still loading..."
        assert httpx.get(url).status_code == 200  # the page is there already
        wait_until(lambda: status(f"{url}/health") == 200, "/health is 200")
        assert status(f"http://127.0.0.1:{management}/readyz") == 200
