"""Notices, the model's line and the status."""

import dataclasses

import pytest

from ccmusic.genres import CCMUSIC
from ccmusic.health import CheckResult
from ccmusic.inference.result import ODDITIES
from ccmusic.monitoring.drift_watch import DriftOf, DriftState
from ccmusic.ui import cards
from ccmusic.workers.records import WorkerRecord
from ccmusic.workers.supervisor_state import SupervisorState
from ui.stub_service import MODEL, StubService, snapshot, track_result

LOADING = snapshot("loading", "Model is still loading...", 2.0)
MISSING = snapshot("loading", "Model file not found: ./save.pt", 2.0)
FAILED = snapshot("error", "Model loading failed: <script>", 2.0)


@pytest.mark.parametrize(
    ("state", "colour"),
    [(StubService().snapshot(), "green"), (LOADING, "amber"), (MISSING, "red"), (FAILED, "red")],
)
def test_the_light(state, colour):
    html = cards.status_html(state, "en")
    assert cards.colour_of(state) == colour
    assert f'data-colour="{colour}"' in html


def test_a_red_light_gives_the_cause_as_text():
    html = cards.status_html(FAILED, "zh")
    assert "Model loading failed: &lt;script&gt;" in html
    assert "<script>" not in html


@pytest.mark.parametrize(
    ("sure_level", "told"),
    [(None, ""), (0, ""), (16, ""), (9, "of the group only: Symphony (47%), one of 9"), (2, "Classical")],
)
def test_a_sure_group_is_named(sure_level, told):
    result = dataclasses.replace(track_result(likeliest=0), sure_level=sure_level)
    html = cards.sure_html(result, "en")
    assert bool(html) is bool(told)
    assert told in html


def test_status_tells_what_runs():
    html = cards.status_html(StubService().snapshot(), "en")
    assert "1 h 1 min" in html
    assert "process 7" in html
    assert "stub 1.2.3" in html
    assert "passed, 5 s ago" in html


def test_a_warning_is_amber_and_told():
    check = CheckResult("disk", frozenset({"health"}), "warn", "nearly <full>")
    html = cards.status_html(dataclasses.replace(StubService().snapshot(), checks=(check,)), "en")
    assert 'data-colour="amber"' in html
    assert "disk: nearly &lt;full&gt;" in html


@pytest.mark.parametrize(
    ("language", "usual", "words"),
    [
        (
            "en",
            "so far as 60 of them tell",
            ("Pop makes up 80% of the last 60, 6% are expected", "loudness is lower than"),
        ),
        ("zh", "就已识别的 60 段而言", ("最近 60 段中流行占 80%,预期为 6%", "最近 60 段的响度比预期低")),
    ],
)
def test_status_tells_of_drift_in_the_readers_language(language, usual, words):
    pop = next(group for group in CCMUSIC.genres(9) if group.label_en == "Pop")
    mix = DriftOf("mix", 1.2, True, "more", 0.8, 0.06, 60, pop)
    level = DriftOf("level", 1.1, True, "less", -30.0, -17.0, 60)

    def shown(*kinds: DriftOf) -> str:
        return cards.status_html(dataclasses.replace(StubService().snapshot(), drift=DriftState(60, kinds)), language)

    html = shown(mix, level)
    assert all(part in html for part in words)
    assert usual in shown(dataclasses.replace(mix, drifted=False), dataclasses.replace(level, drifted=False))


def test_status_tells_why_a_worker_failed_and_how_often_it_came_back():
    worker = WorkerRecord(0, "failed", None, 3, 0, error='cannot load "x"')
    html = cards.status_html(dataclasses.replace(FAILED, supervisor=SupervisorState(workers=(worker,))), "en")
    assert "restarts: 3" in html
    assert "cannot load &quot;x&quot;" in html


def test_the_hash_is_short_and_whole_on_hover():
    html = cards.model_html(track_result(), "en")
    assert f">{MODEL.sha256[:12]}<" in html
    assert f'title="SHA-256 of the model&#x27;s files: {MODEL.sha256}"' in html
    assert "0:30 of sound heard in 0.4 s" in html


def test_each_flag_is_told_in_words():
    assert cards.flags_html(track_result(), "en") == ""
    html = cards.flags_html(track_result(flags=("silence", "too_short", "uncertain", "truncated")), "en")
    assert html.count('class="cc-notice cc-warning"') == 4


@pytest.mark.parametrize(("language", "words"), [("en", "like speech without music"), ("zh", "没有音乐的说话声")])
def test_what_it_seems_to_be_instead_of_music_is_told(language, words):
    html = cards.flags_html(dataclasses.replace(track_result(flags=("uncertain", "truncated")), odd="speech"), language)
    assert words in html
    assert html.count('class="cc-notice') == 2
    for odd in ODDITIES[1:]:
        assert cards.flags_html(dataclasses.replace(track_result(flags=("uncertain",)), odd=odd), language) != html
    silent = dataclasses.replace(track_result(flags=("silence", "uncertain")), odd="silence")
    assert cards.flags_html(silent, language) == cards.flags_html(dataclasses.replace(silent, odd=None), language)


def test_a_notice_shows_foreign_text_as_text():
    html = cards.notice_html("error", "no", "<img src=x>", "en")
    assert "<img" not in html
