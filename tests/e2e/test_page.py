"""The page in a real browser, with a running service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from ccmusic.genres import LEAVES, WORLD
from ccmusic.health.http_protocol import SAFE_HEADERS
from ccmusic.serving.edge import PERMISSIONS
from ccmusic.settings import Settings
from ccmusic.ui.texts import TEXTS, TITLE
from e2e.page_actions import OPERA, SYMPHONY, choose, classify, confidences, explain, wait_for_answer
from support.bands_model import write_world_model
from support.running_server import RunningServer, running_server
from support.waiting import PATIENCE_SECONDS
from ui.stub_service import StubService, serving, stub_app, wait_for_page

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore:::gradio")]


@pytest.fixture(scope="module")
def server(model_directory) -> Iterator[RunningServer]:
    with running_server(CCMUSIC_MODEL=str(model_directory), CCMUSIC_WORKERS="2") as running:
        running.wait_healthy()
        yield running


def test_the_answer_for_a_recording_is_complete(server, visit):
    opened = visit(server.url)
    page = opened.page
    assert page.title() == TITLE
    assert page.get_by_role("heading", name=TITLE).is_visible()
    assert page.get_by_text(TEXTS["en"]["description"]).is_visible()

    classify(page, SYMPHONY)

    shown = confidences(page)
    assert len(shown) == 5
    assert shown[0][0] == "Symphony"
    assert all(0 <= percent <= 100 for _, percent in shown)
    assert shown == sorted(shown, key=lambda row: -row[1])
    assert page.locator("#track .cc-spectrogram img").evaluate("image => image.naturalWidth") > 10
    assert page.locator("#track .cc-notes span").all_inner_texts() == [f"C{octave}" for octave in range(1, 8)]
    timeline = page.locator("#track .cc-timeline i")
    assert timeline.count() >= 2
    assert "Symphony" in timeline.first.get_attribute("title")
    assert page.locator("#levels [data-level='2'] li").count() == 2
    assert page.locator("#levels [data-level='9'] li").count() == 9
    assert page.locator("#genres [data-level='16'] li").count() == 16
    assert re.search(r"bands, version 0\.0\.1", page.locator("#model").inner_text())
    assert re.search(r"[0-9a-f]{64}", page.locator("#model code").get_attribute("title"))

    assert opened.errors == []


@pytest.mark.parametrize(("locale", "language"), [("zh-CN", "zh"), ("zh-TW", "zh"), ("en-GB", "en"), ("de-DE", "en")])
def test_the_page_is_in_the_language_of_the_browser(server, visit, locale, language):
    page = visit(server.url, locale).page
    texts = TEXTS[language]
    assert page.locator("#run").inner_text() == texts["run"]
    assert page.get_by_text(texts["description"]).is_visible()
    classify(page, SYMPHONY)
    names = {leaf.label_zh if language == "zh" else leaf.label_en for leaf in LEAVES}
    assert {name for name, _ in confidences(page)} <= names
    assert texts["map.title"] in page.locator("#track").inner_text()
    page.get_by_role("tab", name=texts["tab.status"]).click()
    page.locator("#status .cc-status").wait_for()
    status = page.locator("#status").inner_text()
    assert texts["status.workers"] in status
    # on a busy machine the page may warn that the self-test is slow
    assert texts["status.healthy"] in status or texts["status.degraded"] in status


@pytest.mark.parametrize(("locale", "language"), [("zh-CN", "zh"), ("en-GB", "en")])
def test_the_explanation_has_a_line_of_text_and_a_picture(server, visit, locale, language):
    opened = visit(server.url, locale)
    page = opened.page
    texts = TEXTS[language]
    page.get_by_role("button", name=texts["explain.title"]).click()
    page.locator("#explain-run").click()
    page.get_by_text(texts["notice.no_clip"]).wait_for()
    classify(page, OPERA)
    page.locator("#explain-run").click()
    page.locator("#explanation img").wait_for()
    opera = LEAVES[1].label_zh if language == "zh" else LEAVES[1].label_en
    assert page.locator("#explanation h3").inner_text().startswith(opera)
    assert page.locator("#explanation img").evaluate("image => image.naturalWidth") > 10
    page.locator("#explain-window input").fill("2")
    page.locator("#explain-run").click()
    page.locator("#explanation figcaption", has_text="0:01–0:04").wait_for()
    assert opened.errors == []


def test_the_status_tab_refreshes_only_while_it_is_open(server, visit):
    opened = visit(server.url)
    page = opened.page
    page.get_by_role("tab", name=TEXTS["en"]["tab.status"]).click()
    page.locator("#status .cc-status[data-colour=green]").wait_for()  # amber for a moment on a busy machine
    assert page.locator("#status li").count() == 2
    with page.expect_response(lambda response: "/run/predict" in response.url):
        pass  # a refresh without any action
    page.get_by_role("tab", name=TEXTS["en"]["tab.classify"]).click()
    page.locator("#run").wait_for()


def test_a_file_that_is_not_audio_gets_an_error_notice(server, visit):
    opened = visit(server.url)
    page = opened.page
    text_file = {"name": "notes.wav", "mimeType": "audio/wav", "buffer": b"dear diary, " * 500}
    choose(page, text_file)
    page.locator("#run").click()
    notice = page.locator("#notice .cc-error")
    notice.wait_for()
    shown = notice.inner_text()
    assert any(TEXTS["en"][f"error.{kind}"] in shown for kind in ("UnsupportedMedia", "UndecodableAudio"))
    assert "Traceback" not in page.content()
    assert page.locator("#placeholder").is_visible()
    assert httpx.get(f"{server.url}/health").status_code == 200

    classify(page, SYMPHONY)  # the page still works
    assert page.locator("#notice .cc-error").count() == 0


def test_the_button_without_a_recording_shows_a_notice(server, visit):
    page = visit(server.url).page
    page.locator("#run").click()
    page.get_by_text(TEXTS["en"]["notice.no_clip"]).wait_for()


def test_each_visitor_sees_only_their_own_answer(server, visit):
    one, two = visit(server.url).page, visit(server.url).page
    for page, clip in ((one, SYMPHONY), (two, OPERA)):  # both at the same time
        choose(page, clip)
    one.locator("#run").click()
    two.locator("#run").click()
    for page, genre in ((one, "Symphony"), (two, "Opera")):
        wait_for_answer(page)
        assert confidences(page)[0][0] == genre
    third = visit(server.url).page
    assert third.locator("#placeholder").is_visible()
    assert third.locator("#track img").count() == 0


def test_a_microphone_recording_is_answered(server, visit):
    page = visit(server.url, permissions=["microphone"]).page
    page.locator("#audio").get_by_label("Record audio").click()
    page.locator("#audio .record-button").click()
    page.locator("#audio .stop-button").wait_for()
    page.wait_for_function("() => /0:0[1-9]/.test(document.querySelector('#audio').innerText)")
    page.locator("#audio .stop-button").click()
    page.locator("#audio audio.standard-player").wait_for(state="attached")  # once the recording is uploaded
    page.locator("#run").click()
    wait_for_answer(page)
    assert page.locator("#notice .cc-error").count() == 0


@pytest.mark.parametrize(("locale", "language"), [("en-US", "en"), ("zh-CN", "zh")])
def test_a_clip_sent_before_the_model_is_ready_gets_a_notice(visit, locale, language):
    service = StubService(ready=False)
    with serving(stub_app(service, Settings())) as url:
        wait_for_page(url)
        opened = visit(url, locale)
        page = opened.page
        page.locator("#readiness .cc-warning").wait_for()
        assert TEXTS[language]["notice.loading"] in page.locator("#readiness").inner_text()
        choose(page, SYMPHONY)
        page.locator("#run").click()
        page.locator("#notice .cc-warning").wait_for()
        assert TEXTS[language]["error.ModelNotReady"] in page.locator("#notice").inner_text()
        assert page.locator("#label .confidence-set").count() == 0

        service.ready = True
        page.locator("#readiness .cc-warning").wait_for(state="detached")  # the notice disappears without any action
        page.locator("#run").click()
        wait_for_answer(page)
        assert opened.errors == []
        page.close()


def test_the_page_fits_the_width_of_a_phone(server, visit):
    page = visit(server.url, "zh-CN", viewport={"width": 360, "height": 740}).page
    classify(page, SYMPHONY)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("tab", name=TEXTS["zh"]["tab.status"]).click()
    page.locator("#status .cc-status").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_an_open_tab_does_not_delay_the_shutdown(visit, model_directory):
    # only a shutdown that waits for the tab would need the whole time of a drain
    drain = str(2 * PATIENCE_SECONDS)
    with running_server(
        CCMUSIC_MODEL=str(model_directory), CCMUSIC_WORKERS="1", CCMUSIC_DRAIN_SECONDS=drain
    ) as running:
        wait_for_page(running.url)
        visit(running.url)
        running.process.terminate()
        assert running.process.wait(PATIENCE_SECONDS) == 0


def test_a_browser_without_a_network_asks_nobody_else_and_gets_every_header(server, visit):
    opened = visit(server.url)
    page = opened.page
    classify(page, OPERA)
    explain(page, TEXTS["en"]["explain.title"])
    page.get_by_role("tab", name=TEXTS["en"]["tab.status"]).click()
    page.locator("#status .cc-status").wait_for()
    documentation = visit(f"{server.url}/docs", awaited="#operations-classification-classify_v1_classify_post")
    for each in (opened, documentation):
        assert each.hosts == {urlsplit(server.url).netloc}
        assert each.errors == []
        answers = [response for response in each.responses if response.url.startswith("http")]
        assert len(answers) > 3
        for answer in answers:
            check_headers(answer.headers, answer.url)
    assert page.locator("footer").get_by_text("API").count() == 0  # Gradio's panel gets a 404


def check_headers(headers: dict[str, str], url: str) -> None:
    """Check the headers of an answer as a browser gets it."""
    policy = headers.pop("content-security-policy")
    for name, value in SAFE_HEADERS[1:]:
        assert headers[name] == value, url
    assert policy.startswith("default-src 'none'") or "javascript" in headers["content-type"], url
    assert "http:" not in policy and "https:" not in policy, url
    if headers["content-type"].startswith("text/html"):
        assert "frame-ancestors 'none'" in policy, url
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0], url
        assert headers["x-frame-options"] == "DENY", url
        assert headers["permissions-policy"] == PERMISSIONS, url


def test_the_visitor_can_choose_between_two_taxonomies(visit, tmp_path):
    directory = write_world_model(tmp_path / "world")
    with running_server(CCMUSIC_MODEL=str(directory), CCMUSIC_WORKERS="1") as running:
        running.wait_healthy()
        wait_for_page(running.url)
        opened = visit(running.url)
        page = opened.page
        page.locator("#taxonomy").wait_for()
        classify(page, OPERA)  # in band 1
        assert confidences(page)[0][0] == "Opera"
        page.locator("#taxonomy").get_by_label(TEXTS["en"]["taxonomy.world"]).check()
        page.locator("#run").click()
        name = WORLD.genres()[15 - 1].label_en
        page.locator("#label .confidence-set", has_text=name).first.wait_for()
        page.locator("#genres h4, #genres h3").first.wait_for()
        assert confidences(page)[0][0] == name
        assert page.locator("#genres [data-level='16'] li.cc-top").inner_text().startswith(name)
        assert page.locator("#levels .cc-levels").count() == 0
        assert opened.errors == []
        page.close()


def test_a_model_with_one_taxonomy_offers_no_choice(server, visit):
    page = visit(server.url).page
    page.locator("#run").wait_for()
    assert page.locator("#taxonomy").count() == 0
