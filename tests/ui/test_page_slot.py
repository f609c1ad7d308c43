"""The place of the page in the application."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.exceptions import HTTPException

from ccmusic.ui import waiting_pages
from ccmusic.ui.kept_uploads import KeptUploads
from ccmusic.ui.page_slot import PageSlot


def test_the_waiting_pages_have_no_external_resources():
    for html in (waiting_pages.STARTING_PAGE, waiting_pages.ABSENT_PAGE, waiting_pages.FAILED_PAGE):
        assert "http:" not in html
        assert "https:" not in html
        assert "src=" not in html


def test_other_protocols_are_refused():
    with pytest.raises(HTTPException):
        asyncio.run(PageSlot()({"type": "websocket"}, None, None))


def test_a_page_that_opens_while_the_server_ends_keeps_no_streams():
    async def main():
        slot = PageSlot()
        slot.end_streams()
        gradio = SimpleNamespace(stop_event=asyncio.Event())
        slot.open(gradio, KeptUploads(Path(), 1, 1.0))
        return gradio.stop_event.is_set()

    assert asyncio.run(main())


def test_gradio_gets_no_cookies():
    """Python's parser of cookies takes the square of their length."""
    scopes = []

    async def gradio(scope, receive, send):
        scopes.append(scope)

    async def main():
        slot = PageSlot()
        slot.open(gradio, KeptUploads(Path(), 1, 1.0))
        headers = [(b"host", b"x"), (b"cookie", b"a=b"), (b"cookie", b"c=d")]
        await slot({"type": "http", "method": "GET", "path": "/config", "headers": headers}, None, None)

    asyncio.run(main())
    assert scopes[0]["headers"] == [(b"host", b"x")]
