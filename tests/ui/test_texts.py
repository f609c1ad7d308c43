"""The page's words."""

import inspect
import string

import pytest

from ccmusic import errors
from ccmusic.inference.result import FLAGS
from ccmusic.ui.texts import TEXTS, clock, duration_text, error_text, language_of


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_both_languages_say_the_same_things():
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()
    for key, english in TEXTS["en"].items():
        chinese = TEXTS["zh"][key]
        assert english.strip(), key
        assert chinese.strip(), key
        assert fields(english) == fields(chinese), key


def test_no_key_is_one_of_gradios_own():
    # Gradio merges these tables into its own, in which such names are branches.
    assert not TEXTS["en"].keys() & {"audio", "common", "dataframe", "file", "image", "label", "login", "upload_text"}


def test_every_flag_has_a_text():
    assert all(f"flag.{flag}" in TEXTS["en"] for flag in FLAGS)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_error_has_a_text_that_shows_no_internals(language):
    samples = {errors.InvalidParameter: ("windows", "is odd")}
    for _, cls in inspect.getmembers(errors, inspect.isclass):
        error = cls(*samples.get(cls, ("the cause",)))
        told = error_text(error, language)
        assert told
        assert "the cause" not in told
        assert "{" not in told


def test_overloaded_says_when_to_come_back():
    assert "try again in 7 s" in error_text(errors.Overloaded("full", retry_after_seconds=7.2), "en")


def test_an_error_without_a_text_gets_its_parents():
    class Odd(errors.AudioError):
        pass

    assert error_text(Odd(), "en") == TEXTS["en"]["error.AudioError"]
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
def test_language_is_the_first_that_is_asked_for(header, language):
    assert language_of(header) == language


@pytest.mark.parametrize(
    ("seconds", "english"), [(0, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (7320, "2 h 2 min"), (90000, "1 d 1 h")]
)
def test_durations_in_words(seconds, english):
    assert duration_text(seconds, "en") == english


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (9.6, "0:10"), (61, "1:01"), (3661, "1:01:01")])
def test_clock(seconds, shown):
    assert clock(seconds) == shown
