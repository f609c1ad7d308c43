"""The forms in which answers are printed."""

import csv
import io
import json
from pathlib import Path

import pytest

from ccmusic.commands.answer_writers import fit, write_csv, write_json, write_table

SIDES = [{"genre": "Classic", "label_en": "Classical", "probability": 0.25}]
ANSWER = {
    "duration_seconds": 30.0,
    "taxonomy": "ccmusic",
    "level": 16,
    "predictions": [{"genre": "Soft_rock", "label_en": "Soft rock", "probability": 0.5}],
    "levels": {"16": [], "2": SIDES},
    "flags": ["uncertain"],
    "odd": "tone",
    "sure_level": 2,
}
ERROR = {"error": {"type": "empty-audio", "detail": "no samples"}}


def answers():
    yield Path("folder/歌.wav"), ANSWER
    yield Path(), ERROR


def test_table():
    out = io.StringIO()
    assert write_table(answers(), out, 5) == 1
    song, error = out.getvalue().splitlines()
    assert (
        song
        == f"歌.wav{' ' * 28}    30.0 s   classical 25%  Soft rock 50%  [sure only of Classical]  [uncertain, tone]"
    )
    assert error == f".{' ' * 33}  empty-audio: no samples"


def test_csv_leaves_the_cells_of_missing_genres_empty():
    out = io.StringIO()
    assert write_csv(answers(), out, 2) == 1
    song, error = csv.DictReader(io.StringIO(out.getvalue()))
    assert (song["genre_1"], song["probability_1"], song["genre_2"]) == ("Soft_rock", "0.5", "")
    assert (song["classic_probability"], song["flags"], song["error"]) == ("0.25", "uncertain", "")
    assert (song["sure_level"], song["odd"]) == ("2", "tone")
    assert (error["genre_1"], error["error"]) == ("", "empty-audio: no samples")


@pytest.mark.parametrize(("answered", "shown"), [({"sure_level": None}, "0"), ({}, "")])
def test_csv_tells_an_answer_that_is_sure_of_no_level_from_a_model_without_thresholds(answered, shown):
    out = io.StringIO()
    answer = {name: value for name, value in ANSWER.items() if name != "sure_level"}
    write_csv(iter([(Path("a"), answer | answered | {"odd": None, "flags": ["silence", "truncated"]})]), out, 1)
    (row,) = csv.DictReader(io.StringIO(out.getvalue()))
    assert (row["sure_level"], row["odd"], row["flags"]) == (shown, "", "silence truncated")


def test_table_names_the_sure_group_only_if_it_is_coarser_than_what_is_shown():
    out = io.StringIO()
    write_table(iter([(Path("a"), ANSWER | {"level": 2})]), out, 1)
    assert "sure only" not in out.getvalue()


def test_json_names_the_file():
    out = io.StringIO()
    assert write_json(answers(), out, 5) == 1
    assert [json.loads(line)["file"] for line in out.getvalue().splitlines()] == ["folder/歌.wav", "."]


@pytest.mark.parametrize(("text", "width", "fitted"), [("ab", 4, "ab  "), ("abcde", 4, "abc…"), ("歌曲", 5, "歌曲 ")])
def test_a_name_fits_its_column(text, width, fitted):
    assert fit(text, width) == fitted


NAMES = [
    "line\nbreak\r.mp3",
    "colour\x1b[31m.mp3",
    "Caf\udce9.mp3",
    "right\u202eto left.mp3",
    "\u2028",
    "歌\u3000🎵.mp3",
]
SHOWN = [
    r"line\nbreak\r.mp3",
    r"colour\x1b[31m.mp3",
    r"Caf\udce9.mp3",
    r"right\u202eto left.mp3",
    r"\u2028",
    "歌\u3000🎵.mp3",
]


@pytest.mark.parametrize("answer", [ANSWER, ERROR | {"error": {"type": "internal", "detail": "no\nsamples"}}])
def test_every_name_is_one_row(answer):
    out = io.StringIO(newline="")
    write_table(((Path(name), answer) for name in NAMES), out, 1)
    rows = out.getvalue().split("\n")
    assert [row[: len(shown)] for row, shown in zip(rows, [*SHOWN, ""], strict=True)] == [*SHOWN, ""]
    out = io.StringIO(newline="")
    write_csv(((Path(name), answer) for name in NAMES), out, 1)
    _, *rows, end = out.getvalue().split("\r\n")
    assert [row.partition(",")[0] for row in rows] == SHOWN
    assert end == ""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_valid_and_has_the_exact_name_in_every_locale(encoding):
    content = io.BytesIO()
    out = io.TextIOWrapper(content, encoding=encoding, errors="strict", newline="")
    write_json(((Path(name), ANSWER) for name in [*NAMES, "é"]), out, 1)
    rows = content.getvalue().split(b"\n")
    assert [json.loads(row)["file"] for row in rows[:-1]] == [*NAMES, "é"]
    assert (b"\\u6b4c" in content.getvalue()) == (encoding != "utf-8")
