"""A headless Chromium, and browser contexts that record errors and requests."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from support.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

CHROMIUM = os.environ.get("CCMUSIC_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # a machine without a network
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser per module: while Playwright runs, other tests in this thread cannot run an event loop."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed (the extra `test`)")
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH (CCMUSIC_TEST_CHROMIUM names another)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page in its own context, with its errors, its requests and the responses to them."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)

    def note_response(self, response: Response) -> None:
        """Keep a response; Playwright cannot call a method of a list."""
        self.responses.append(response)

    @property
    def hosts(self) -> set[str]:
        """Every host, with its port, that the page sent a request to."""
        return {urlsplit(url).netloc for url in self.requests if not url.startswith(("data:", "blob:"))}


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Open a URL as a new visitor; it is closed after the test."""
    contexts = []

    def open_page(url: str, locale: str = "en-US", awaited: str = "#run", **options: Any) -> Visit:
        context = browser.new_context(locale=locale, **options)
        context.set_default_timeout(1000 * PATIENCE_SECONDS)
        contexts.append(context)
        visit = Visit(context.new_page())
        visit.page.on("console", lambda m: visit.errors.append(m.text) if m.type == "error" else None)
        visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
        visit.page.on("request", lambda request: visit.requests.append(request.url))
        visit.page.on("response", visit.note_response)
        visit.page.goto(url)
        visit.page.locator(awaited).wait_for()  # the starting page reloads until the page is there
        return visit

    yield open_page
    for context in contexts:
        context.close()
