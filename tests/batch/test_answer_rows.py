"""One row of CSV or JSON Lines for an answer. tests/commands/test_answer_writers.py has more of the form."""

from __future__ import annotations

import pytest

from ccmusic.batch.answer_rows import cells, column_names, text_cell
from support.catalogue_rows import answer

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\uff1d1", "\uff0b1", "\uff201", "\uff0d1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_is_a_formula(text):
    assert text_cell(text) == f"'{text}"
    assert cells(text, answer("Opera", 0.5), 1)[0] == f"'{text}"
    assert cells("a", {"error": {"type": text, "detail": ""}}, 1)[-1].startswith(f"'{text}")
    own = answer("Opera", 0.5) | {"predictions": [{"genre": text, "probability": 0.5}]}
    assert cells("a", own, 1)[column_names(1).index("genre_1")] == f"'{text}"


@pytest.mark.parametrize("text", ["-", "a=b", "/music/=1.mp3", "1-2", "", "歌"])
def test_other_texts_stay(text):
    assert text_cell(text) == text


def test_a_track_without_answer_and_error_has_empty_cells():
    assert cells("a", {}, 2) == ["a", *[""] * (len(column_names(2)) - 1)]


def test_there_are_never_more_genres_than_were_wanted():
    row = dict(zip(column_names(2), cells("a", answer("Opera", 0.5), 2), strict=True))
    assert (row["genre_1"], row["genre_2"]) == ("Opera", "Solo")
