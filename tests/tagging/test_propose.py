"""What a plan proposes: nothing where a genre is, or where the answer is not sure."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ccmusic.audio.payload_hash import payload_hash
from ccmusic.batch.track_row import TrackRow
from ccmusic.genres import taxonomy_of
from ccmusic.tagging.fields import change_fields, read_fields
from ccmusic.tagging.propose import ADD, REPLACE, Wishes, propose
from ccmusic.tagging.vocabulary import Vocabulary, shipped_vocabulary
from support.catalogue_rows import answer, answered
from support.tagged import make_song

SHIPPED = Wishes(shipped_vocabulary())
Answered = Callable[..., TrackRow]


@pytest.fixture
def song(tmp_path: Path) -> Path:
    return make_song("ID3v2.4.mp3", tmp_path)


@pytest.fixture
def row_of(song: Path) -> Answered:
    """The row of the song with an answer."""

    def row(genre: str = "Soul_or_RnB", probability: float = 0.41, **of_answer: object) -> TrackRow:
        about = song.stat()
        found = answer(genre, probability, **{"sure_level": 16} | of_answer)
        known = dict(size=about.st_size, modified_ns=about.st_mtime_ns, payload=payload_hash(song))
        return answered(1, os.fsencode(song), found, **known)

    return row


@pytest.fixture
def row(row_of: Answered) -> TrackRow:
    return row_of()


def test_a_sure_genre_is_written_where_none_is(row: TrackRow, song: Path) -> None:
    before = song.read_bytes()
    track = propose(row, SHIPPED)
    assert (track.action, track.genres, track.genres_now, track.own) == ("write", ("Soul", "R&B"), (), None)
    assert track.answer == {"label": "Soul_or_RnB", "level": 16, "probability": 0.41}
    assert song.read_bytes() == before


@pytest.mark.parametrize(
    ("of_answer", "changes", "reason"),
    [
        ({"sure_level": 0}, {}, "uncertain"),
        ({"sure_level": None, "flags": ("uncertain",)}, {}, "uncertain"),
        ({"odd": "speech"}, {}, "seems to be no music: speech"),
        ({"flags": ("too_short",)}, {}, "too short"),
        ({}, {"status": "stale"}, "stale, see `ccmusic batch status`"),
        ({}, {"status": "failed", "answer": None}, "failed, see `ccmusic batch status`"),
        ({"sure_level": 2}, {}, "Non_classic is excluded by the vocabulary"),
        ({}, {"payload": "sha256:other", "size": 1}, "has other sound than when it was analysed"),
    ],
)
def test_a_file_is_kept_and_the_plan_says_why(
    of_answer: dict[str, object], changes: dict[str, object], reason: str, row_of: Answered
) -> None:
    track = propose(replace(row_of(**of_answer), **changes), SHIPPED)
    assert (track.action, track.reason, track.genres) == ("keep", reason, None)


def test_a_label_that_the_vocabulary_does_not_have_is_not_written(row_of: Answered) -> None:
    own = row_of("Schlager", 0.9, taxonomy=taxonomy_of("own", ("Schlager", "Polka")), sure_level=2)
    assert propose(own, SHIPPED).reason == "Schlager is not in the vocabulary"


def test_the_finest_sure_level_is_written(row_of: Answered) -> None:
    assert propose(row_of("Opera", 0.4, sure_level=2, flags=("uncertain",)), SHIPPED).genres == ("Classical",)


def test_the_likeliest_genre_of_a_model_without_thresholds_is_written(row_of: Answered) -> None:
    track = propose(row_of(sure_level=None), SHIPPED)
    assert track.genres == ("Soul", "R&B")
    assert track.answer == {"label": "Soul_or_RnB", "level": 16, "probability": 0.41}


def test_the_probability_is_that_of_the_level(row_of: Answered) -> None:
    track = propose(row_of("Soul_or_RnB", 0.9, sure_level=2), SHIPPED)
    assert (track.answer["label"], track.answer["level"]) == ("Non_classic", 2)
    assert track.answer["probability"] > 0.98


def test_a_genre_that_is_there_is_never_replaced_by_default(row: TrackRow, song: Path) -> None:
    change_fields(song, ["Polka"], None)
    track = propose(row, SHIPPED)
    assert (track.action, track.reason, track.genres_now) == ("keep", "has a genre", ("Polka",))


def test_a_genre_is_replaced_or_added_on_request(row: TrackRow, song: Path) -> None:
    change_fields(song, ["Polka"], None)
    assert propose(row, replace(SHIPPED, mode=REPLACE)).genres == ("Soul", "R&B")
    assert propose(row, replace(SHIPPED, mode=ADD)).genres == ("Polka", "Soul", "R&B")


@pytest.mark.parametrize("name", ["ID3v2.4.mp3", "ID3v2.3.mp3", "song.flac"])
@pytest.mark.parametrize("mode", [REPLACE, ADD])
def test_what_is_there_already_is_not_written_again(name: str, mode: str, row: TrackRow, tmp_path: Path) -> None:
    song = make_song(name, tmp_path)
    row = replace(row, path=os.fsencode(song), payload=payload_hash(song))
    wishes = replace(SHIPPED, mode=mode)
    change_fields(song, ["Polka"], None)
    change_fields(song, propose(row, wishes).genres, None)
    track = propose(row, wishes)
    assert (track.action, track.reason) == ("keep", "has this genre")


def test_evidence_is_written_on_request_beside_a_kept_genre(row: TrackRow, song: Path) -> None:
    change_fields(song, ["Polka"], None)
    track = propose(row, replace(SHIPPED, evidence=True))
    assert (track.action, track.genres) == ("write", None)
    assert track.own == {
        "CCMUSIC_GENRE": "Soul_or_RnB",
        "CCMUSIC_LEVEL": "16",
        "CCMUSIC_PROBABILITY": "0.41",
        "CCMUSIC_MODEL": "made-up 1",
    }
    change_fields(song, None, track.own)
    assert propose(row, replace(SHIPPED, evidence=True)).reason == "has a genre"


def test_no_evidence_of_an_uncertain_answer(row_of: Answered) -> None:
    assert propose(row_of(sure_level=0), replace(SHIPPED, evidence=True)).action == "keep"


def test_a_file_that_was_only_retagged_is_written(row: TrackRow, song: Path) -> None:
    with song.open("ab") as file:
        file.write(b"TAG" + bytes(124) + b"\xff")
    assert song.stat().st_size != row.size
    track = propose(row, SHIPPED)
    assert (track.action, track.payload) == ("write", row.payload)


def test_a_file_without_a_known_hash_gets_one(row: TrackRow, song: Path) -> None:
    assert propose(replace(row, payload=None), SHIPPED).payload == payload_hash(song)


def test_a_file_that_is_gone_or_has_no_tags_is_kept(row: TrackRow, song: Path) -> None:
    song.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(99))
    assert propose(row, SHIPPED).reason == "Tags cannot be written into webm files."
    song.unlink()
    assert propose(row, SHIPPED).reason.startswith("does not exist")


def test_an_own_vocabulary_is_used(row: TrackRow) -> None:
    mine = Vocabulary("mine", {"Soul_or_RnB": ("soul",)})
    assert propose(row, Wishes(mine)).genres == ("soul",)
    assert read_fields(row.file).genres == ()
