"""The answer on the page is always the answer to the question on the page, and says only what is known."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ccmusic.genres import LEAVES, WORLD
from ccmusic.inference.result import TrackResult
from ccmusic.settings import Settings
from ccmusic.ui.texts import TEXTS
from e2e.page_actions import (
    OPERA,
    SYMPHONY,
    choose,
    choose_taxonomy,
    classify,
    clear,
    confidences,
    explain,
    wait_for_answer,
)
from support.bands_model import NOTHING_IS_ODD, write_own_model, write_world_model
from support.running_server import RunningServer, running_server
from support.waiting import PATIENCE_SECONDS, wait_until
from ui.stub_service import StubService, serving, stub_app, track_result, wait_for_page

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore:::gradio")]

WHY = TEXTS["en"]["explain.title"]
PARTS = (
    "#headline h2",
    "#label .confidence-set",
    "#levels li",
    "#model p",
    "#track img",
    "#genres li",
    "#explanation h3",
)
"""Something of each part of an answer."""


@pytest.fixture(scope="module")
def two_headed(tmp_path_factory) -> Iterator[RunningServer]:
    """A service whose model has the ccMusic genres and the world genres."""
    directory = write_world_model(tmp_path_factory.mktemp("world") / "model", odd=NOTHING_IS_ODD)
    with running_server(CCMUSIC_MODEL=str(directory), CCMUSIC_WORKERS="1") as running:
        running.wait_healthy()
        wait_for_page(running.url)
        yield running


def wait_for_no_answer(page) -> None:
    """Wait until nothing of an answer is on the page."""
    for part in PARTS:
        page.locator(part).first.wait_for(state="hidden")
    page.locator("#placeholder").wait_for()


def test_why_speaks_of_the_taxonomy_of_the_answer(two_headed, visit):
    opened = visit(two_headed.url)
    page = opened.page
    page.locator("#taxonomy").wait_for()
    classify(page, OPERA)  # in band 1
    assert explain(page, WHY).startswith("Opera: ")
    choose_taxonomy(page, TEXTS["en"]["taxonomy.world"])
    wait_for_no_answer(page)
    page.locator("#run").click()
    wait_for_answer(page)
    name = WORLD.genres()[15 - 1].label_en
    assert confidences(page)[0][0] == name
    assert page.locator("#genres [data-level='16'] li.cc-top").inner_text().startswith(name)
    assert page.locator("#levels .cc-levels").count() == 0
    assert explain(page, WHY).startswith(f"{name}: ")
    assert opened.errors == []


def a_new_file(page) -> None:
    page.locator("#audio .icon-button").first.click()
    page.locator("#audio input[type=file]").set_input_files(SYMPHONY)


def another_taxonomy(page) -> None:
    choose_taxonomy(page, TEXTS["en"]["taxonomy.world"])


def another_stretch(page) -> None:
    page.locator("#windows").get_by_label(TEXTS["en"]["windows.first30"]).check()


@pytest.mark.parametrize("change", [clear, a_new_file, another_taxonomy, another_stretch])
def test_nothing_of_an_old_answer_stays(two_headed, visit, change):
    opened = visit(two_headed.url)
    page = opened.page
    page.locator("#taxonomy").wait_for()
    classify(page, OPERA)
    explain(page, WHY)
    for part in PARTS:
        assert page.locator(part).first.is_visible()
    change(page)
    wait_for_no_answer(page)
    assert opened.errors == []


def test_nothing_of_an_old_notice_stays(visit):
    with stubbed() as (_, url):
        page = visit(url).page
        page.locator("#run").click()
        page.locator("#notice .cc-info").wait_for()
        choose(page, SYMPHONY)
        page.locator("#notice .cc-info").wait_for(state="detached")


class HeldService(StubService):
    """Answers when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.released = threading.Event(), threading.Event()

    async def classify(self, *arguments: object, **options: object) -> TrackResult:
        self.asked.set()
        await asyncio.to_thread(self.released.wait, PATIENCE_SECONDS)
        return await super().classify(*arguments, **options)


@contextmanager
def stubbed(service: StubService | None = None) -> Iterator[tuple[StubService, str]]:
    """The page in front of a stub: the stub and the address."""
    service = service or StubService()
    with serving(stub_app(service, Settings())) as url:
        wait_for_page(url)
        yield service, url


WATCH_HEADLINE = """() => new MutationObserver(() => {
    if (document.querySelector('#headline h2')) window.headline = 'there';
    else if (window.headline) window.headline = 'gone';
}).observe(document.body, {childList: true, subtree: true})"""


def test_an_answer_that_comes_after_its_clip_was_removed_does_not_stay(visit):
    with stubbed(HeldService()) as (service, url):
        opened = visit(url)
        page = opened.page
        choose(page, OPERA)
        page.locator("#run").click()
        assert service.asked.wait(PATIENCE_SECONDS)
        clear(page)
        page.locator("#audio audio.standard-player").wait_for(state="detached")
        page.evaluate(WATCH_HEADLINE)
        service.released.set()
        page.wait_for_function("() => window.headline === 'gone'")
        wait_for_no_answer(page)
        assert opened.errors == []


def test_a_second_press_asks_about_what_is_chosen_then(visit):
    with stubbed(HeldService()) as (service, url):
        page = visit(url).page
        choose(page, OPERA)
        page.locator("#run").click()
        assert service.asked.wait(PATIENCE_SECONDS)
        page.locator("#windows").get_by_label(TEXTS["en"]["windows.first30"]).check()
        page.locator("#run").click()
        service.released.set()
        wait_until(lambda: len(service.calls) == 2, "both are answered")
        wait_for_answer(page)
        assert sorted(windows for _, windows, _ in service.calls) == ["first30", "whole"]


CHAMBER = LEAVES[3]
STATES: dict[str, Callable[[], TrackResult]] = {
    "certain": lambda: replace(track_result(likeliest=3), sure_level=16),
    "group": lambda: replace(track_result(likeliest=3), sure_level=2),
    "unsure": lambda: replace(track_result(likeliest=3, flags=("uncertain",)), sure_level=0),
    "odd": lambda: replace(track_result(likeliest=3, flags=("uncertain",)), sure_level=0, odd="tone"),
    "silent": lambda: replace(track_result(likeliest=3, flags=("silence", "uncertain")), sure_level=0, odd="silence"),
}


@pytest.mark.parametrize(("locale", "language"), [("en-US", "en"), ("zh-CN", "zh")])
def test_the_largest_text_is_never_a_genre_that_the_model_is_not_sure_of(visit, locale, language):
    texts = TEXTS[language]
    leaf, group = (CHAMBER.label_zh, "古典") if language == "zh" else (CHAMBER.label_en, "Classical")
    headlines = {
        "certain": leaf,
        "group": group,
        "unsure": texts["headline.uncertain"],
        "odd": texts["headline.odd"],
        "silent": texts["headline.silence"],
    }
    with stubbed() as (service, url):
        page = visit(url, locale).page
        choose(page, OPERA)
        for state, headline in headlines.items():
            service.result = STATES[state]()
            page.locator("#run").click()
            page.locator("#headline h2", has_text=headline).wait_for()
            wait_for_answer(page)
            title = texts["genre" if state == "certain" else "guesses"]
            page.locator("#label").get_by_text(title).first.wait_for()
            assert confidences(page)[0][0] == leaf  # smaller, below
            assert largest_text(page) == headline


def largest_text(page) -> str:
    """The text in the largest letters of the column with the answer."""
    return page.evaluate(
        """() => [...document.querySelectorAll('#headline *, #label *')]
            .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.checkVisibility())
            .map(e => [parseFloat(getComputedStyle(e).fontSize), e.textContent.trim()])
            .reduce((largest, next) => next[0] > largest[0] ? next : largest)[1]"""
    )


@pytest.mark.parametrize(("locale", "language"), [("en-US", "en"), ("zh-CN", "zh")])
def test_the_page_of_a_model_with_labels_of_its_own_speaks_of_those(visit, tmp_path, locale, language):
    directory = write_own_model(tmp_path / "own", odd=NOTHING_IS_ODD)
    texts = TEXTS[language]
    with running_server(CCMUSIC_MODEL=str(directory), CCMUSIC_WORKERS="1") as running:
        running.wait_healthy()
        wait_for_page(running.url)
        opened = visit(running.url, locale)
        page = opened.page
        page.get_by_text(texts["description.own"].format(n=3)).wait_for()
        classify(page, OPERA)
        assert {name for name, _ in confidences(page)} == {"low", "middle", "high"}
        assert explain(page, texts["explain.title"]).startswith(page.locator("#headline h2").inner_text())
        for place in (".cc-lead", "#footer", "#genres h3"):
            assert "16" not in page.locator(place).first.inner_text()
        for place in ("#headline", "#label", "#track", "#genres", "#explanation"):
            shown = page.locator(place).inner_text()
            assert not [leaf.label for leaf in LEAVES if leaf.label_en in shown or leaf.label_zh in shown]
        assert opened.errors == []
        page.close()
