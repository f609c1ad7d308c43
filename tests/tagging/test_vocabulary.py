"""Genres of a person for our labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ccmusic.errors import InvalidParameter
from ccmusic.genres import CCMUSIC, WORLD
from ccmusic.tagging.vocabulary import SEPARATORS, read_vocabulary, shipped_vocabulary


@pytest.mark.parametrize(
    "genre", [genre for taxonomy in (CCMUSIC, WORLD) for level in taxonomy.levels for genre in level]
)
def test_every_label_has_shipped_genres_without_separators(genre) -> None:
    genres = shipped_vocabulary().of(genre.label)
    assert genres is not None
    assert genres or genre.label == "Non_classic"
    assert not SEPARATORS & set("".join(genres))


def test_soul_and_rnb_are_two_genres() -> None:
    assert shipped_vocabulary().of("Soul_or_RnB") == ("Soul", "R&B")


def vocabulary(tmp_path: Path, content: str, suffix: str = ".toml"):
    path = tmp_path / f"mine{suffix}"
    path.write_text(content, encoding="utf-8")
    return read_vocabulary(path)


def test_labels_and_genres_are_many_to_many_and_keep_their_case(tmp_path: Path) -> None:
    mine = vocabulary(tmp_path, '[genres]\nSoft_rock = ["ROCK", "soft"]\nPop = "ROCK"\nOpera = []\nSolo = "独奏"\n')
    assert mine.of("Soft_rock") == ("ROCK", "soft")
    assert mine.of("Pop") == ("ROCK",)
    assert mine.of("Opera") == ()
    assert mine.of("Solo") == ("独奏",)
    assert mine.of("Jazz") == ("Jazz",)
    assert mine.of("my own label") is None


def test_json_is_read_too(tmp_path: Path) -> None:
    text = json.dumps({"genres": {"Pop": ["Pop music", "Pop music"]}, "only": True})
    mine = vocabulary(tmp_path, text, ".json")
    assert mine.of("Pop") == ("Pop music",)
    assert mine.of("Jazz") is None


def test_a_separator_is_written_on_request(tmp_path: Path) -> None:
    mine = vocabulary(tmp_path, 'separators = true\n[genres]\nPop = "Pop/Rock"\n')
    assert mine.of("Pop") == ("Pop/Rock",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[genres]\nPop = "Pop/Rock"', "cut in two"),
        ('[genres]\nPop = "Pop; Rock"', "cut in two"),
        ('[genres]\nPop = "17"', "number of a genre"),
        ('[genres]\nPop = "(Pop)"', "number of a genre"),
        ('[genres]\nPop = "a\\u0000b"', "cannot be printed"),
        ("[genres]\nPop = 5", "list of texts"),
        ('[genres]\nPop = [" "]', "list of texts"),
        ('genre = "Pop"', "and not genre"),
        ("", "which is missing"),
        ("no table", "neither TOML nor JSON"),
    ],
)
def test_what_would_not_be_read_as_written_is_refused(content: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match=words):
        vocabulary(tmp_path, content)


@pytest.mark.parametrize("content", ["[]", '"text"', '{"genres": []}'])
def test_other_json_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="table genres"):
        vocabulary(tmp_path, content, ".json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match=r"mine\.toml cannot be read"):
        read_vocabulary(tmp_path / "mine.toml")
