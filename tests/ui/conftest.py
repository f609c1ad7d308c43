"""Fixtures for the page: one server for all tests, because importing Gradio takes seconds."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ccmusic.settings import Settings
from support.waiting import PATIENCE_SECONDS
from ui.stub_service import StubService, serving, stub_app, track_result, wait_for_page

if importlib.util.find_spec("gradio") is None:
    pytest.skip("the page needs the extra `page`", allow_module_level=True)

MAX_UPLOAD_BYTES = 50_000
MAX_PAGE_BYTES = 2**21


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore the warnings of Gradio's own modules; they cannot be fixed here."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("ignore:::gradio"))


@dataclass
class PageServer:
    """A served page and its stub service."""

    url: str
    service: StubService


@pytest.fixture(scope="session")
def _page_server() -> Iterator[PageServer]:
    service = StubService()
    settings = Settings(max_upload_bytes=MAX_UPLOAD_BYTES, max_page_bytes=MAX_PAGE_BYTES)
    with serving(stub_app(service, settings)) as url:
        wait_for_page(url)
        yield PageServer(url, service)


@pytest.fixture
def page_server(_page_server: PageServer) -> PageServer:
    """The page, with the stub reset."""
    _page_server.service.__init__(track_result())
    return _page_server


@pytest.fixture
def client(page_server: PageServer) -> Iterator[httpx.Client]:
    """An HTTP client for the served page."""
    with httpx.Client(base_url=page_server.url, timeout=PATIENCE_SECONDS) as client:
        yield client
