"""The review queue."""

from __future__ import annotations

import base64

import pytest

from ccmusic.batch.exports import answer_of
from ccmusic.batch.report import review
from ccmusic.batch.report.review import ReviewQueue
from ccmusic.genres import WORLD, taxonomy_of
from support.catalogue_rows import answer, answered

SURE = answer("Soft_rock", 0.9, sure_level=16)


def queue_of(*pairs):
    """A queue of answers, each with the genres in its file."""
    queue = ReviewQueue(lambda track: pairs[track.id][1])
    for i, (found, _) in enumerate(pairs):
        track = answered(i, f"/m/{i}.mp3", found)
        queue.add(track, answer_of(track))
    return queue


@pytest.mark.parametrize(
    ("found", "own", "kind"),
    [
        (SURE, (), "missing"),
        (SURE, ("",), "missing"),
        (SURE, (" - ",), "missing"),
        (SURE, ("Soft rock",), "keep"),
        (SURE, ("soft_ROCK",), "keep"),
        (SURE, ("软摇滚",), "keep"),
        (SURE, ("Jazz", "Soft Rock"), "keep"),
        (SURE, ("Rock",), "keep"),  # the group that it is in
        (answer("Soft_rock", 0.6, sure_level=9), ("Soft rock",), "keep"),  # finer, and in our group
        (answer("Soft_rock", 0.6, sure_level=9), ("Opera",), "differs"),
        (SURE, ("Acoustic pop",), "differs"),  # another one of the same group
        (SURE, ("Jazz",), "differs"),
        (SURE, None, "suggested"),
        (answer("Soft_rock", 0.3), ("Jazz",), "uncertain"),
        (answer("Soft_rock", 0.9, sure_level=16, odd="noise"), (), "uncertain"),
        (answer("Soft_rock", 0.9, sure_level=16, flags=("too_short",)), (), "uncertain"),
        (answer("R&B", 0.9, WORLD, sure_level=16), ("r & b",), "keep"),
        (answer("Rock", 0.9, taxonomy_of("own", ("Rock", "Pop")), sure_level=2), ("rock",), "keep"),
        (answer("Rock", 0.9, taxonomy_of("own", ("Rock", "Pop")), sure_level=2), ("Pop",), "differs"),
    ],
)
def test_each_track_is_of_one_kind(found, own, kind):
    assert queue_of((found, own)).counts == {kind: 1}


def test_without_a_reader_the_genres_of_files_are_not_known():
    queue = ReviewQueue()
    queue.add(answered(1, "/a", SURE), SURE)
    (row,) = queue.rows()
    assert (row["kind"], row["own"], row["genre"], row["level"], row["guesses"]) == (
        "suggested",
        None,
        "Soft_rock",
        16,
        [],
    )


def test_the_answer_is_what_it_is_sure_of():
    row, unsure = queue_of((answer("Soft_rock", 0.6, sure_level=9), ()), (answer("Soft_rock", 0.3), ())).rows()
    assert (row["genre"], row["level"]) == ("Rock", 9)
    assert row["probability"] > 0.6
    assert (row["whyNot"], unsure["whyNot"]) == ("", "uncertain")
    assert (unsure["level"], [genre for genre, _ in unsure["guesses"]][:2]) == (0, ["Soft_rock", "Acoustic_pop"])


def test_the_finest_and_likeliest_of_each_kind_are_kept(monkeypatch):
    monkeypatch.setattr(review, "MOST_OF_A_KIND", 2)
    found = [answer("Opera", p, sure_level=16) for p in (0.7, 0.9, 0.8)] + [answer("Opera", 0.99, sure_level=2)]
    queue = queue_of(*[(each, ()) for each in found], (answer("Opera", 0.3), ()))
    assert [row["path"] for row in queue.rows()] == ["/m/1.mp3", "/m/2.mp3", "/m/4.mp3"]
    assert queue.counts == {"missing": 4, "uncertain": 1}


def test_the_genres_of_a_file_are_exact_or_count_as_not_read():
    (row,) = queue_of((SURE, ["x" * 5000] * 5000)).rows()
    assert (row["kind"], row["own"]) == ("suggested", None)


def test_a_file_agrees_in_the_words_that_are_written_too():
    for vocabulary, kind in (
        ({"Soft_rock": ("Mellow", "Rock Music")}, "keep"),
        ({"Rock": ("Mellow",)}, "keep"),
        ({}, "differs"),
    ):
        queue = ReviewQueue(lambda _: ("mellow",), vocabulary)
        queue.add(answered(1, "/a", SURE), SURE)
        assert queue.counts == {kind: 1}


def test_a_path_that_is_not_utf8_has_its_bytes_too():
    queue = ReviewQueue()
    for i, path in enumerate((b"/m/\xe9.mp3", "/m/歌.mp3".encode())):
        queue.add(answered(i, path, SURE, payload="sha256:a"), SURE)
    latin, chinese = queue.rows()
    assert (latin["path"], base64.b64decode(latin["path_base64"]), latin["payload"]) == (
        "/m/\\xe9.mp3",
        b"/m/\xe9.mp3",
        "sha256:a",
    )
    assert chinese["path"] == "/m/歌.mp3"
    assert "path_base64" not in chinese
