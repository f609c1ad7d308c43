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
    assert (error["genre_1"], error["error"]) == ("", "empty-audio: no samples")


def test_json_names_the_file():
    out = io.StringIO()
    assert write_json(answers(), out, 5) == 1
    assert [json.loads(line)["file"] for line in out.getvalue().splitlines()] == ["folder/歌.wav", "."]


@pytest.mark.parametrize(("text", "width", "fitted"), [("ab", 4, "ab  "), ("abcde", 4, "abc…"), ("歌曲", 5, "歌曲 ")])
def test_a_name_fits_its_column(text, width, fitted):
    assert fit(text, width) == fitted
