"""Routes against a service of the test's own, for what a running one shows only by chance."""

import asyncio
from types import SimpleNamespace

import httpx
import pytest

from ccmusic.serving.app import create_app
from support.recordings import tone, wav

RECORDING = wav(tone(440, 1.0))


class Unproved:
    """A service that has no model yet, so that nothing is known of its taxonomies."""

    def snapshot(self):
        return SimpleNamespace(taxonomies=())


class Waiting(Unproved):
    """A service whose answer never comes; it notes that it was begun, and given up."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.given_up = asyncio.Event()

    async def classify(self, source, *, windows, explain=None):
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up.set()


class Failing(Unproved):
    """A service that fails as it is told to."""

    def __init__(self, error) -> None:
        self.error = error

    async def classify(self, source, *, windows, explain=None):
        raise self.error


def test_a_client_that_hangs_up_frees_its_place(make_settings):
    async def hang_up():
        app = create_app(make_settings())
        app.state.service = service = Waiting()

        async def receive():
            if not service.begun.is_set() and not sent:
                sent.append(True)
                return {"type": "http.request", "body": RECORDING, "more_body": False}
            await service.begun.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            answers.append(message)

        sent, answers = [], []
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
        await asyncio.wait_for(service.given_up.wait(), 20)

    asyncio.run(hang_up())


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (OSError(28, "No space left on device"), 507, "insufficient-storage"),
        (RuntimeError("a secret of the house"), 500, "internal"),
    ],
)
def test_errors_from_outside_the_tree(make_settings, error, status, slug):
    async def ask():
        app = create_app(make_settings())
        app.state.service = Failing(error)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/v1/classify", content=RECORDING, headers={"content-type": "audio/wav"})

    response = asyncio.run(ask())
    assert (response.status_code, response.json()["type"]) == (status, slug)
    assert "secret" not in response.text
