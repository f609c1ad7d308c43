"""Routes with a stub service, for cases that a running service shows only by chance."""

import asyncio
import tempfile
from types import SimpleNamespace

import httpx
import pytest

from ccmusic.serving.app import create_app
from support.recordings import tone, wav

RECORDING = wav(tone(440, 1.0))


class Loading:
    """A service without a model, so its taxonomies are unknown."""

    def snapshot(self):
        return SimpleNamespace(served=None)


class Waiting(Loading):
    """A service that never answers; it records the start and the cancellation."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def classify(self, source, *, windows, explain=None):
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


class Failing(Loading):
    """A service that raises the given error."""

    def __init__(self, error) -> None:
        self.error = error

    async def classify(self, source, *, windows, explain=None):
        raise self.error


def test_a_job_is_cancelled_when_the_client_disconnects(make_settings):
    async def disconnect():
        app = create_app(make_settings())
        app.state.service = service = Waiting()

        async def receive():
            if not service.started.is_set() and not sent:
                sent.append(True)
                return {"type": "http.request", "body": RECORDING, "more_body": False}
            await service.started.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            responses.append(message)

        sent, responses = [], []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/v1/classify",
            "raw_path": b"/v1/classify",
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(b"content-type", b"audio/wav")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        await asyncio.wait_for(app(scope, receive, send), 20)
        await asyncio.wait_for(service.cancelled.wait(), 20)

    asyncio.run(disconnect())


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (OSError(28, "No space left on device"), 507, "insufficient-storage"),
        (FileNotFoundError(2, "No such file", f"{tempfile.gettempdir()}/tmpx"), 507, "insufficient-storage"),
        (FileNotFoundError(2, "No such file", "/secret/model.onnx"), 500, "internal"),
        (RuntimeError("a secret"), 500, "internal"),
    ],
)
def test_errors_that_are_not_ours_become_problems(make_settings, error, status, slug):
    async def ask():
        app = create_app(make_settings())
        app.state.service = Failing(error)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/v1/classify", content=RECORDING, headers={"content-type": "audio/wav"})

    response = asyncio.run(ask())
    assert (response.status_code, response.json()["type"]) == (status, slug)
    assert "secret" not in response.text
