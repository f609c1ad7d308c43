"""Notices, the line about the model, and the status tab."""

import dataclasses

import pytest

from ccmusic.genres import CCMUSIC
from ccmusic.health import CheckResult
from ccmusic.models.non_music_limits import OUT_OF_REACH
from ccmusic.monitoring.drift_watch import DriftOf, DriftState
from ccmusic.ui import cards
from ccmusic.workers.records import WorkerRecord
from ccmusic.workers.supervisor_state import SupervisorState
from ui.stub_service import MODEL, StubService, snapshot, track_result

LOADING = snapshot("loading", "loading", "Model is still loading...")
MISSING = snapshot("loading", "file_missing", "Model file not found: ./save.pt")
FAILED = snapshot("error", "load_failed", "Model loading failed: <script>")


@pytest.mark.parametrize(
    ("state", "colour"),
    [
        (StubService().snapshot(), "green"),
        (LOADING, "amber"),
        (snapshot("loading", "preparing", "any message"), "amber"),
        (snapshot("loading", "not_started", "any message"), "amber"),
        (snapshot("loading", "blocked", "any message"), "red"),
        (MISSING, "red"),
        (FAILED, "red"),
    ],
)
def test_the_status_light_has_the_right_colour(state, colour):
    html = cards.status_html(state, "en")
    assert cards.colour_of(state) == colour
    assert f'data-colour="{colour}"' in html


def test_a_red_light_shows_the_cause_escaped():
    html = cards.status_html(FAILED, "zh")
    assert "Model loading failed: &lt;script&gt;" in html
    assert "<script>" not in html


def test_the_status_shows_uptime_model_and_workers():
    html = cards.status_html(StubService().snapshot(), "en")
    assert "1 h 1 min" in html
    assert "process 7" in html
    assert "stub 1.2.3" in html
    assert "passed, 5 s ago" in html


def test_a_warning_is_amber_and_shows_its_cause():
    check = CheckResult("disk", frozenset({"health"}), "warn", "nearly <full>")
    html = cards.status_html(dataclasses.replace(StubService().snapshot(), checks=(check,)), "en")
    assert 'data-colour="amber"' in html
    assert "disk: nearly &lt;full&gt;" in html


@pytest.mark.parametrize(
    ("language", "usual", "words"),
    [
        (
            "en",
            "similar to the training data (60 recordings so far)",
            ("Pop has a share of 80% in the last 60 recordings; expected: 6%", "loudness is lower than"),
        ),
        ("zh", "已统计 60 段", ("最近 60 段音频中，流行占 80%，预期为 6%", "最近 60 段音频的响度比预期低")),
    ],
)
def test_the_status_describes_drift_in_the_readers_language(language, usual, words):
    pop = next(group for group in CCMUSIC.genres(9) if group.label_en == "Pop")
    mix = DriftOf("mix", 1.2, True, "more", 0.8, 0.06, 60, pop)
    level = DriftOf("level", 1.1, True, "less", -30.0, -17.0, 60)

    def shown(*kinds: DriftOf) -> str:
        return cards.status_html(dataclasses.replace(StubService().snapshot(), drift=DriftState(60, kinds)), language)

    html = shown(mix, level)
    assert all(part in html for part in words)
    assert usual in shown(dataclasses.replace(mix, drifted=False), dataclasses.replace(level, drifted=False))


def test_the_status_shows_the_error_and_the_restarts_of_a_worker():
    worker = WorkerRecord(0, "failed", None, 3, 0, error='cannot load "x"')
    html = cards.status_html(dataclasses.replace(FAILED, supervisor=SupervisorState(workers=(worker,))), "en")
    assert "restarts: 3" in html
    assert "cannot load &quot;x&quot;" in html


def test_the_hash_is_short_and_the_tooltip_has_all_of_it():
    html = cards.model_html(track_result(), "en")
    assert f">{MODEL.sha256[:12]}<" in html
    assert f'title="SHA-256 of the model: {MODEL.sha256}"' in html
    assert "0:30 of audio analysed in 0.4 s" in html


def test_each_flag_becomes_a_notice():
    assert cards.flags_html(track_result(), "en") == ""
    html = cards.flags_html(track_result(flags=("silence", "too_short", "uncertain", "truncated")), "en")
    assert html.count('class="cc-notice cc-warning"') == 4


@pytest.mark.parametrize(("language", "words"), [("en", "like speech without music"), ("zh", "只有说话声，没有音乐")])
def test_the_kind_of_non_music_replaces_the_notice_of_uncertainty(language, words):
    html = cards.flags_html(dataclasses.replace(track_result(flags=("uncertain", "truncated")), odd="speech"), language)
    assert words in html
    assert html.count('class="cc-notice') == 2
    for odd in OUT_OF_REACH:
        assert cards.flags_html(dataclasses.replace(track_result(flags=("uncertain",)), odd=odd), language) != html
    silent = dataclasses.replace(track_result(flags=("silence", "uncertain")), odd="silence")
    assert cards.flags_html(silent, language) == cards.flags_html(dataclasses.replace(silent, odd=None), language)


def test_the_detail_of_a_notice_is_escaped():
    html = cards.notice_html("error", "no", "<img src=x>", "en")
    assert "<img" not in html
