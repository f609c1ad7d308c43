"""The texts of the page."""

import json
import re
import string
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import get_args

import pytest

from ccmusic import errors
from ccmusic.genres import CCMUSIC, TAXONOMIES
from ccmusic.inference.result import FLAGS
from ccmusic.monitoring.drift_watch import DRIFT_KINDS, Change, DriftOf, DriftState
from ccmusic.ui import cards, plots, waiting_pages
from ccmusic.ui.explanation import explanation_html
from ccmusic.ui.headline import headline_html
from ccmusic.ui.texts import TEXTS, clock, duration_text, error_text, language_of
from ccmusic.workers.records import WorkerRecord
from ccmusic.workers.supervisor_state import SupervisorState
from ui.stub_service import StubService, explanation, track_result

EXAMPLES = Path(__file__).parents[2] / "examples" / "examples.json"


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_both_languages_have_the_same_keys_and_fields():
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()
    for key, english in TEXTS["en"].items():
        chinese = TEXTS["zh"][key]
        assert english.strip(), key
        assert chinese.strip(), key
        assert fields(english) == fields(chinese), key


def test_no_key_is_a_key_of_gradio():
    # Gradio merges these tables into its own, where these names are subtables.
    assert not TEXTS["en"].keys() & {"audio", "common", "dataframe", "file", "image", "label", "login", "upload_text"}


def test_every_flag_has_a_text():
    assert all(f"flag.{flag}" in TEXTS["en"] for flag in FLAGS)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_error_has_a_text_that_shows_no_internals(language):
    samples = {errors.InvalidParameter: ("windows", "is not allowed")}
    for cls in (getattr(errors, name) for name in errors.__all__):
        error = cls(*samples.get(cls, ("the cause",)))
        shown = error_text(error, language)
        assert shown
        assert "the cause" not in shown
        assert "{" not in shown


def test_the_text_for_overload_has_the_time_to_wait():
    assert "try again in 7 s" in error_text(errors.Overloaded("full", retry_after_seconds=7.2), "en")


def test_an_error_without_a_text_gets_that_of_its_base_class():
    class Unlisted(errors.AudioError):
        pass

    assert error_text(Unlisted(), "en") == TEXTS["en"]["error.AudioError"]
    assert error_text(RuntimeError("secret"), "en") == TEXTS["en"]["error.unexpected"]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh", "zh"),
        ("ZH-tw", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("fr-FR,zh;q=0.5", "en"),
        ("", "en"),
        (None, "en"),
        ("*", "en"),
        (";;;,,", "en"),
    ],
)
def test_the_language_is_the_first_in_the_header(header, language):
    assert language_of(header) == language


@pytest.mark.parametrize(
    ("seconds", "english"), [(0, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (7320, "2 h 2 min"), (90000, "1 d 1 h")]
)
def test_a_duration_has_its_two_largest_units(seconds, english):
    assert duration_text(seconds, "en") == english


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (9.6, "0:10"), (61, "1:01"), (3661, "1:01:01")])
def test_a_position_is_minutes_and_seconds(seconds, shown):
    assert clock(seconds) == shown


CHINESE = r"[\u3400-\u9fff\uff00-\uffef\u3000-\u303f]"
HALF_WIDTH_BESIDE_CHINESE = re.compile(rf"{CHINESE} ?[,.;:!?()]|[,.;:!?()] ?{CHINESE}")


def shown(html: str) -> str:
    """The text of HTML with its tooltips and labels, but without other attributes."""
    tooltips = re.findall(r'(?:title|alt|aria-label)="([^"]*)"', html)
    return "\n".join([unescape(re.sub(r"<style>.*?</style>|<[^>]*>", "\n", html, flags=re.DOTALL)), *tooltips])


@pytest.mark.parametrize("text", ["模型,版本", "流派(16 类)", "结果:", "时间 (分)", "{group}(共 9 类)", "为什么?"])
def test_half_width_punctuation_beside_chinese_is_found(text):
    assert HALF_WIDTH_BESIDE_CHINESE.search(re.sub(r"\{\w+\}", "字", text))


@pytest.mark.parametrize("key", TEXTS["zh"])
def test_chinese_texts_have_full_width_punctuation(key):
    text = re.sub(r"\{\w+\}", "字", TEXTS["zh"][key])  # a field may be Chinese as well
    assert not HALF_WIDTH_BESIDE_CHINESE.search(text), text


def test_genre_names_and_examples_have_full_width_punctuation():
    names = [genre.label_zh for taxonomy in TAXONOMIES.values() for level in taxonomy.levels for genre in level]
    titles = [entry["title_zh"] for entry in json.loads(EXAMPLES.read_text(encoding="utf-8"))]
    assert titles
    assert not [text for text in names + titles if HALF_WIDTH_BESIDE_CHINESE.search(text)]


@pytest.mark.parametrize("name", ["STARTING_PAGE", "ABSENT_PAGE", "FAILED_PAGE"])
def test_the_waiting_pages_have_full_width_punctuation(name):
    text = shown(getattr(waiting_pages, name))
    assert re.search(CHINESE, text)
    assert not HALF_WIDTH_BESIDE_CHINESE.search(text)


def test_what_the_page_shows_in_chinese_has_full_width_punctuation():
    result = replace(track_result(flags=FLAGS), sure_level=9)
    pop = CCMUSIC.genres(9)[4]
    drift = tuple(
        DriftOf(kind, 1.2, True, change, 0.8, 0.06, 60, pop if kind == "mix" else None)
        for kind in DRIFT_KINDS
        for change in get_args(Change)
    )
    failed_worker = WorkerRecord(0, "failed", 7, 3, 2, error="no memory")
    state = replace(StubService().snapshot(), supervisor=SupervisorState(workers=(failed_worker,)))
    pieces = [
        headline_html(result, "zh"),
        headline_html(replace(result, sure_level=0), "zh"),
        cards.flags_html(result, "zh"),
        cards.model_html(result, "zh"),
        cards.status_html(replace(state, drift=DriftState(60, drift)), "zh"),
        cards.status_html(StubService().snapshot(), "zh"),
        plots.track_html(result, "zh"),
        plots.levels_html(result, "zh"),
        plots.genres_html(result, "zh"),
        explanation_html(explanation(), "zh"),
    ]
    for piece in pieces:
        text = shown(piece)
        assert re.search(CHINESE, text)
        assert not (found := HALF_WIDTH_BESIDE_CHINESE.search(text)), text[
            max(0, found.start() - 20) : found.end() + 20
        ]
