"""One line of the log for one message."""

import logging

import pytest

from ccmusic.process.log_lines import MAX_LINE_BYTES, MAX_TEXT, Lines, OneLineRecord, clean_lines, one_line

FORGED = "song.mp3\n2026-01-01 ERROR ccmusic: forged\x1b[2J\r\x85\u2028\ud800"


def written(message: str, *args: object, exc_info: object = None) -> str:
    """What a usual handler would write for a message."""
    record = OneLineRecord("name", logging.ERROR, "file.py", 1, message, args, exc_info)
    return logging.Formatter("%(levelname)s %(message)s").format(record)


def fail(error: Exception, cause: Exception | None = None) -> None:
    raise error from cause


def raised(error: Exception, cause: Exception | None = None) -> tuple:
    try:
        fail(error, cause)
    except Exception as caught:
        return type(caught), caught, caught.__traceback__


@pytest.mark.parametrize("value", [FORGED, ValueError(FORGED), [FORGED]])
@pytest.mark.parametrize("form", ["%s", "%r"])
def test_a_value_cannot_begin_a_line_or_change_a_terminal(form, value):
    text = written(f"cannot read {form}", value)
    assert text.isprintable()
    assert "forged" in text
    text.encode()


def test_a_value_by_name_is_on_one_line_too():
    assert written("cannot read %(name)s", {"name": FORGED}).isprintable()


def test_numbers_are_formatted_as_numbers():
    assert written("%d of %.1f, %s", 3, 2.0, None) == "ERROR 3 of 2.0, None"


def test_a_long_value_is_cut():
    text = written("%s", "x" * 10**6)
    assert len(text) < MAX_TEXT + 50
    assert "1000000 characters" in text


def test_the_line_ends_of_our_own_texts_stay():
    assert written("stack:\n%s", Lines("a\nb")) == "ERROR stack:\na\nb"


def test_the_text_of_an_error_is_on_one_line_of_its_stack():
    text = written("it failed", exc_info=raised(ValueError(FORGED * 1000), RuntimeError(FORGED)))
    assert [line for line in text.splitlines() if line.startswith("2026")] == []
    assert "Traceback" in text
    assert "test_log_lines.py" in text
    assert len(text) < 10_000
    assert text.replace("\n", "").isprintable()


def test_the_errors_of_a_group_and_its_notes():
    group = ExceptionGroup(FORGED, [ValueError(FORGED)])
    text = written("it failed", exc_info=raised(group))
    assert [line for line in text.splitlines() if "forged" in line and "song.mp3" not in line] == []


def test_one_line_keeps_what_people_write():
    assert one_line("夏天.mp3 — naïve") == "夏天.mp3 — naïve"


@pytest.mark.parametrize(
    ("block", "clean"),
    [
        (b"a\n\tb\n", b"a\n\tb\n"),
        ("夏\n".encode(), "夏\n".encode()),
        (b"a\x1b[31mb\n", b"a\\x1b[31mb\n"),
        (b"a\rb\0\n", b"a\\x0db\\x00\n"),
    ],
)
def test_lines_of_other_programs_have_no_control_characters(block, clean):
    assert clean_lines(block) == clean


def test_on_a_terminal_only_colours_stay():
    assert clean_lines(b"\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07\n", colours=True) == (
        b"\x1b[31mred\x1b[0m \\x1b[2J\\x1b]0;title\\x07\n"
    )


def test_lines_that_are_too_long_are_cut():
    block = b"short\n" + b"x" * 10**6 + b"\nshort\n"
    assert clean_lines(block) == b"short\n" + b"x" * MAX_LINE_BYTES + b"... (cut)\nshort\n"
