"""The texts of the page."""

import inspect
import string

import pytest

from ccmusic import errors
from ccmusic.inference.result import FLAGS
from ccmusic.ui.texts import TEXTS, clock, duration_text, error_text, language_of


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
    for _, cls in inspect.getmembers(errors, inspect.isclass):
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
