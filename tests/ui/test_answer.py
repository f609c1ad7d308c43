"""What the button of the page does."""

import asyncio
import logging

import pytest

from ccmusic.errors import CcmusicError, ModelNotReady, Overloaded, UndecodableAudio, WorkerDied
from ccmusic.genres import WORLD
from ccmusic.ui.answer import Answer, Question, answer_clip, readiness_html
from ui.stub_service import StubService, snapshot, track_result


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(b"RIFF")
    return str(path)


def answer(service: StubService, clip: str | None, language: str = "en", windows: str = "whole") -> Answer:
    return asyncio.run(answer_clip(service, Question(clip, windows), language))


def test_an_answer_has_every_piece(clip):
    service = StubService()
    got = answer(service, clip, windows="first30")
    assert got.notice == ""
    assert len(got.confidences) == 5
    assert next(iter(got.confidences)) == "Chamber"
    assert "<img" in got.track
    assert all((got.headline, got.levels, got.genres, got.model))
    assert (got.level, got.confidences_title) == (16, "Genre")
    assert [(str(source), windows, spectrogram) for source, windows, spectrogram in service.calls] == [
        (clip, "first30", True)
    ]


def test_names_follow_the_language(clip):
    assert next(iter(answer(StubService(), clip, "zh").confidences)) == "室内乐"


def test_the_answer_is_in_the_chosen_taxonomy(clip):
    service = StubService(track_result(likeliest=3))
    got = asyncio.run(answer_clip(service, Question(clip, taxonomy="world"), "zh"))
    assert next(iter(got.confidences)) == WORLD.genres()[15 - 3].label_zh
    assert "不太确定" in got.notice  # a flag of this taxonomy
    assert got.levels == ""
    assert 'data-level="16"' in got.genres


def test_a_taxonomy_that_the_model_does_not_have_gets_a_notice(clip):
    got = asyncio.run(answer_clip(StubService(), Question(clip, taxonomy="own"), "en"))
    assert "invalid value" in got.notice
    assert "must be one of ccmusic, world" in got.notice


def test_flags_become_notices(clip):
    got = answer(StubService(track_result(flags=("silence", "uncertain"))), clip)
    assert "almost silent" in got.notice
    assert "uncertain" in got.notice
    assert got.confidences is not None


def test_a_clip_sent_before_the_model_is_ready_gets_a_notice(clip):
    english, chinese = (answer(StubService(ready=False), clip, language) for language in ("en", "zh"))
    assert "The model is still loading" in english.notice
    assert "模型正在加载" in chinese.notice
    assert english.confidences is None


def test_a_model_that_failed_is_not_reported_as_loading(clip):
    service = StubService(ModelNotReady("Model loading failed: no such operator"))
    service.snapshot = lambda: snapshot("error", "load_failed", "Model loading failed: no such operator")
    got = answer(service, clip)
    assert "could not be loaded" in got.notice
    assert "still loading" not in got.notice


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UndecodableAudio("bad header"), "cannot be decoded"),
        (Overloaded("full", 3.0), "try again in 3 s"),
        (WorkerDied("signal 11"), "has been replaced"),
        (CcmusicError("odd"), "could not be processed"),
    ],
)
def test_every_error_becomes_a_notice(clip, error, words):
    got = answer(StubService(error), clip)
    assert words in got.notice
    assert 'role="alert"' in got.notice
    assert got == Answer(got.notice)


def test_an_unexpected_error_is_logged_and_not_shown(clip, caplog):
    with caplog.at_level(logging.ERROR):
        got = answer(StubService(RuntimeError("a secret")), clip)
    assert "secret" not in got.notice
    assert "internal error" in got.notice
    assert "a secret" in caplog.text


def test_a_missing_clip_gets_a_notice():
    service = StubService()
    assert "Choose or record" in answer(service, None).notice
    assert "no longer has" in answer(service, "/nowhere/clip.wav").notice
    assert service.calls == []


def test_there_is_a_readiness_notice_until_the_chosen_model_is_ready():
    assert readiness_html(StubService().snapshot(), "en") == ""
    assert "still loading" in readiness_html(StubService(ready=False).snapshot(), "en")
    preparing = snapshot("loading", "preparing", "Model is still loading...", preparing="building vgg19_bn")
    assert "converted from its checkpoint" in (html := readiness_html(preparing, "en"))
    assert "building vgg19_bn" in html
    instead = snapshot("ready", preparation_caveat="owner/name could not be fetched")
    assert "不是管理员指定的模型" in (html := readiness_html(instead, "zh"))
    assert "owner/name could not be fetched" in html


@pytest.mark.parametrize(
    ("model_status", "code", "words"),
    [
        ("loading", "loading", "still loading"),
        ("loading", "not_started", "still loading"),
        ("loading", "preparing", "converted from its checkpoint"),
        ("loading", "file_missing", "model file is missing"),
        ("error", "file_missing", "model file is missing"),
        ("error", "load_failed", "could not be loaded"),
        ("error", "dependency_missing", "could not be loaded"),
        ("error", "a_new_code", "could not be loaded"),
        ("ready", "file_missing", ""),  # the model that is loaded still answers
    ],
)
def test_the_readiness_notice_depends_on_the_code_and_not_on_the_message(model_status, code, words):
    html = readiness_html(snapshot(model_status, code, "any message"), "en")
    assert words in html
    assert bool(html) is bool(words)
    assert ("any message" in html) is ('role="alert"' in html)  # as the detail of an error
    assert ('role="alert"' in html) is (model_status == "error" or (code == "file_missing" and bool(words)))


def test_a_clip_sent_while_the_model_file_is_missing_gets_the_cause(clip):
    service = StubService(ready=False)
    service.snapshot = lambda: snapshot("loading", "file_missing", "Model file not found: ./save.pt")
    got = answer(service, clip)
    assert "model file is missing" in got.notice
    assert "still loading. Your file" not in got.notice
