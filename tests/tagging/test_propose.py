"""What a plan proposes: nothing where a genre is, or where the answer is not sure."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ccmusic.audio.payload_hash import payload_hash
from ccmusic.batch.track_row import TrackRow
from ccmusic.tagging.fields import change_fields, read_fields
from ccmusic.tagging.propose import ADD, REPLACE, Wishes, propose
from ccmusic.tagging.vocabulary import Vocabulary, shipped_vocabulary
from support.tagged import make_song

SHIPPED = Wishes(shipped_vocabulary())
ANSWER = {
    "model": {"name": "embedded", "version": "1.2", "sha256": "ab"},
    "levels": {
        "16": [{"genre": "Soul_or_RnB", "probability": 0.41}, {"genre": "Teen_pop", "probability": 0.2}],
        "9": [{"genre": "Soul_or_RnB", "probability": 0.41}],
        "2": [{"genre": "Non_classic", "probability": 0.97}],
    },
}


@pytest.fixture
def song(tmp_path: Path) -> Path:
    return make_song("ID3v2.4.mp3", tmp_path)


@pytest.fixture
def row(song: Path) -> TrackRow:
    about = song.stat()
    return TrackRow(
        id=1, path=os.fsencode(song), name=str(song), status="ok", size=about.st_size, modified_ns=about.st_mtime_ns,
        payload=payload_hash(song), answer=json.dumps(ANSWER), genre="Soul_or_RnB", probability=0.41, sure_level=16,
        sure_genre="Soul_or_RnB", flags="[]",
    )  # fmt: skip


def test_a_sure_genre_is_written_where_none_is(row: TrackRow, song: Path) -> None:
    before = song.read_bytes()
    track = propose(row, SHIPPED)
    assert (track.action, track.genres, track.genres_now, track.own) == ("write", ("Soul", "R&B"), (), None)
    assert track.answer == {"label": "Soul_or_RnB", "level": 16, "probability": 0.41}
    assert song.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sure_level": 0, "sure_genre": None}, "uncertain"),
        ({"sure_level": None, "sure_genre": None, "flags": '["uncertain"]'}, "uncertain"),
        ({"odd": "speech"}, "seems to be no music: speech"),
        ({"flags": '["too_short"]'}, "too short"),
        ({"status": "stale"}, "stale, see `ccmusic batch status`"),
        ({"status": "failed", "sure_level": None, "sure_genre": None}, "failed, see `ccmusic batch status`"),
        ({"sure_level": 2, "sure_genre": "Non_classic"}, "Non_classic is excluded by the vocabulary"),
        ({"sure_genre": "Schlager"}, "Schlager is not in the vocabulary"),
        ({"payload": "sha256:other", "size": 1}, "has other sound than when it was analysed"),
    ],
)
def test_a_file_is_kept_and_the_plan_says_why(changes: dict[str, object], reason: str, row: TrackRow) -> None:
    track = propose(replace(row, **changes), SHIPPED)
    assert (track.action, track.reason, track.genres) == ("keep", reason, None)


def test_the_finest_sure_level_is_written(row: TrackRow) -> None:
    classical = replace(row, sure_level=2, sure_genre="Classic", flags='["uncertain"]')
    assert propose(classical, SHIPPED).genres == ("Classical",)


def test_the_likeliest_genre_of_a_model_without_thresholds_is_written(row: TrackRow) -> None:
    track = propose(replace(row, sure_level=None, sure_genre=None), SHIPPED)
    assert track.genres == ("Soul", "R&B")
    assert track.answer == {"label": "Soul_or_RnB", "probability": 0.41}


def test_the_probability_is_that_of_the_level(row: TrackRow) -> None:
    track = propose(replace(row, sure_level=2, sure_genre="Non_classic"), SHIPPED)
    assert track.answer == {"label": "Non_classic", "level": 2, "probability": 0.97}


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
        "CCMUSIC_MODEL": "embedded 1.2",
    }
    change_fields(song, None, track.own)
    assert propose(row, replace(SHIPPED, evidence=True)).reason == "has a genre"


def test_no_evidence_of_an_uncertain_answer(row: TrackRow) -> None:
    uncertain = replace(row, sure_level=0, sure_genre=None)
    assert propose(uncertain, replace(SHIPPED, evidence=True)).action == "keep"


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
