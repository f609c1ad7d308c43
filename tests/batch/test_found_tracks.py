from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ccmusic.batch import found_tracks
from ccmusic.batch.catalogue import Catalogue
from ccmusic.batch.found_tracks import FoundTracks
from ccmusic.batch.outcome import GONE, Outcome, answered, failed, skipped
from ccmusic.batch.track_row import TrackRow
from ccmusic.batch.walk import FoundFile
from ccmusic.errors import EmptyAudio

MODEL = {"model": "a"}


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue.open(tmp_path / "out") as opened:
        yield opened


@pytest.fixture
def run(catalogue: Catalogue) -> Callable[..., FoundTracks]:
    """One more run that finds these files."""

    def found(*files: FoundFile, model: dict[str, str] = MODEL, **flags: bool) -> FoundTracks:
        tracks = FoundTracks(catalogue, catalogue.begin_run(model, "ccmusic batch"), **flags)
        tracks.mark_stale()
        tracks.add(files)
        return tracks

    return found


def file(name: str, size: int = 1, modified_ns: int = 1, skipped: str | None = None) -> FoundFile:
    return FoundFile(f"/music/{name}".encode(), size, modified_ns, skipped)


def answer(genre: str = "Rock", **changes: object) -> dict[str, object]:
    top = {"genre": genre, "probability": 0.75}
    levels = {"16": [top], "2": [{"genre": "Non_classic", "probability": 0.9}]}
    about = {"predictions": [top], "levels": levels, "odd": None, "flags": [], "duration_seconds": 2.0}
    return about | {"windows": [1, 2], "sure_level": 2} | changes


def finish(tracks: FoundTracks, *outcomes: Outcome) -> None:
    tracks.finish(list(zip([track_id for track_id, _ in tracks.waiting()], outcomes, strict=False)))


def rows(catalogue: Catalogue) -> dict[str, TrackRow]:
    return {row.file.name: row for row in catalogue.tracks()}


def waiting(tracks: FoundTracks) -> list[bytes]:
    return [path for _, path in tracks.waiting()]


OK = answered(answer(), keep_windows=False)
BAD = failed(EmptyAudio("no samples"))


def test_new_files_wait_and_what_was_skipped_does_not(catalogue: Catalogue, run: Callable[..., FoundTracks]) -> None:
    tracks = run(file("a"), file("b", skipped="is a pipe"), file("a"))
    assert waiting(tracks) == [b"/music/a"]
    assert tracks.counts() == {"waiting": 1, "ok": 0, "failed": 0, "skipped": 1, "stale": 0}
    assert rows(catalogue)["b"].error_detail == "is a pipe"


def test_an_answer_fills_its_columns(catalogue: Catalogue, run: Callable[..., FoundTracks]) -> None:
    tracks = run(file("a"))
    finish(tracks, answered(answer(flags=["uncertain"], odd="noise"), keep_windows=False, seconds=0.5))
    row = rows(catalogue)["a"]
    assert (row.status, row.genre, row.probability, row.sure_level, row.sure_genre, row.odd) == (
        "ok", "Rock", 0.75, 2, "Non_classic", "noise"
    )  # fmt: skip
    assert json.loads(row.flags or "") == ["uncertain"]
    assert "windows" not in json.loads(row.answer or "")
    assert (row.duration_seconds, row.seconds, row.attempts, row.fingerprint) == (2.0, 0.5, 1, 1)
    assert row.finished_at is not None
    assert list(catalogue.connection.execute("SELECT analysed FROM runs")) == [(1,)]


@pytest.mark.parametrize(("level", "expected"), [(None, (0, None)), (16, (16, "Rock")), ("absent", (None, None))])
def test_levels_of_which_an_answer_is_sure(level: object, expected: tuple[object, object]) -> None:
    given = answer(sure_level=level)
    if level == "absent":
        del given["sure_level"]
    outcome = answered(given, keep_windows=True)
    assert (outcome.sure_level, outcome.sure_genre) == expected
    assert json.loads(outcome.answer or "") == given


def test_a_known_file_that_has_not_changed_is_not_analysed_again(run: Callable[..., FoundTracks]) -> None:
    finish(run(file("a"), file("b")), OK, BAD)
    tracks = run(file("a"), file("b"))
    assert waiting(tracks) == []
    assert tracks.counts()["ok"] == tracks.counts()["failed"] == 1


@pytest.mark.parametrize("changed", [file("a", size=2), file("a", modified_ns=2)])
def test_a_changed_file_is_analysed_again(
    changed: FoundFile, catalogue: Catalogue, run: Callable[..., FoundTracks]
) -> None:
    finish(run(file("a")), OK)
    tracks = run(changed)
    assert waiting(tracks) == [b"/music/a"]
    finish(tracks, BAD)
    row = rows(catalogue)["a"]
    assert (row.size, row.modified_ns) == (changed.size, changed.modified_ns)
    assert (row.status, row.error_type, row.answer, row.genre, row.attempts) == ("failed", "empty-audio", None, None, 2)
    assert waiting(run(changed)) == []


def test_failed_files_are_tried_again_only_on_request(run: Callable[..., FoundTracks]) -> None:
    finish(run(file("a"), file("b")), OK, BAD)
    assert waiting(run(file("a"), file("b"), retry_failed=True)) == [b"/music/b"]


def test_answers_of_another_fingerprint_are_stale_and_kept(
    catalogue: Catalogue, run: Callable[..., FoundTracks]
) -> None:
    finish(run(file("a"), file("b")), OK, BAD)
    tracks = run(file("a"), file("b"), model={"model": "b"})
    assert waiting(tracks) == []
    assert tracks.counts() == {"waiting": 0, "ok": 0, "failed": 1, "skipped": 0, "stale": 1}
    assert rows(catalogue)["a"].answer == OK.answer
    redone = run(file("a"), file("b"), model={"model": "b"}, redo_stale=True)
    assert waiting(redone) == [b"/music/a"]
    finish(redone, answered(answer("Pop"), keep_windows=False))
    assert rows(catalogue)["a"].genre == "Pop"
    assert redone.counts()["ok"] == 1


def test_stale_answers_are_right_again_under_their_own_fingerprint(run: Callable[..., FoundTracks]) -> None:
    finish(run(file("a")), OK)
    run(file("a"), model={"model": "b"})
    assert run(file("a")).counts()["ok"] == 1


@pytest.fixture
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found_tracks, "ROWS_AT_ONCE", 3)


@pytest.mark.usefixtures("_few_at_once")
def test_all_rows_of_a_large_catalogue_become_stale(run: Callable[..., FoundTracks]) -> None:
    files = [file(f"{number:05}") for number in range(7)]
    finish(run(*files), *[OK] * len(files))
    assert run(*files).counts()["ok"] == len(files)
    assert run(*files, model={"model": "b"}).counts()["stale"] == len(files)


@pytest.mark.usefixtures("_few_at_once")
def test_waiting_tracks_are_listed_once_while_others_finish(run: Callable[..., FoundTracks]) -> None:
    tracks = run(*(file(f"{number:05}") for number in range(7)))
    listed = []
    for track_id, path in tracks.waiting():
        listed.append(path)
        tracks.finish([(track_id, OK)])
    assert len(set(listed)) == len(listed) == 7
    assert waiting(tracks) == []


def test_only_the_files_of_this_run_are_counted_and_analysed(run: Callable[..., FoundTracks]) -> None:
    run(file("a"), file("b"))
    tracks = run(file("b"))
    assert waiting(tracks) == [b"/music/b"]
    assert sum(tracks.counts().values()) == 1


def test_what_vanished_is_skipped_keeps_its_answer_and_is_taken_back(
    catalogue: Catalogue, run: Callable[..., FoundTracks], tmp_path: Path
) -> None:
    here = tmp_path / "here.mp3"
    here.touch()
    present = FoundFile(bytes(here), 1, 1)
    elsewhere = FoundFile(b"/elsewhere/b.mp3", 1, 1)
    finish(run(file("a"), file("b"), present, elsewhere), OK, BAD, OK, OK)
    assert run(file("b")).mark_gone([b"/music", bytes(tmp_path)]) == 1
    row = rows(catalogue)["a"]
    assert (row.status, row.error_detail, row.answer) == ("skipped", GONE, OK.answer)
    assert rows(catalogue)["here.mp3"].status == rows(catalogue)["b.mp3"].status == "ok"
    back = run(file("a"), file("b"))
    assert back.mark_gone([b"/music"]) == 0
    assert back.counts()["ok"] == 1
    assert rows(catalogue)["a"].error_detail is None


def test_a_file_that_vanishes_before_its_analysis_keeps_an_earlier_answer(
    catalogue: Catalogue, run: Callable[..., FoundTracks]
) -> None:
    finish(run(file("a")), OK)
    finish(run(file("a", size=2)), skipped(GONE))
    row = rows(catalogue)["a"]
    assert (row.status, row.error_detail, row.answer) == ("skipped", GONE, OK.answer)


def test_skipped_files_are_looked_at_again(run: Callable[..., FoundTracks]) -> None:
    finish(run(file("a")), skipped("cannot be read: Permission denied"))
    assert waiting(run(file("a"))) == [b"/music/a"]
    assert waiting(run(file("a", skipped="is a pipe"))) == []


def test_an_answer_is_taken_over_from_a_track_with_the_same_sound(
    catalogue: Catalogue, run: Callable[..., FoundTracks]
) -> None:
    first = run(file("a"))
    finish(first, answered(answer("Pop"), keep_windows=False, payload="sha256:1"))
    (source,) = (row.id for row in catalogue.tracks())
    moved = run(file("b"))
    finish(moved, Outcome("ok", payload="sha256:1", same_as=source))
    old, new = rows(catalogue)["a"], rows(catalogue)["b"]
    assert (new.status, new.same_as, new.genre, new.payload) == ("ok", source, "Pop", "sha256:1")
    assert (new.answer, new.fingerprint, new.attempts) == (old.answer, old.fingerprint, 0)
    retagged = run(file("a", size=9))
    finish(retagged, Outcome("ok", payload="sha256:1", same_as=source))
    again = rows(catalogue)["a"]
    assert (again.status, again.same_as, again.genre, again.size, again.attempts) == ("ok", None, "Pop", 9, 1)


def test_a_detail_with_bytes_that_are_not_utf_8_is_stored(
    catalogue: Catalogue, run: Callable[..., FoundTracks]
) -> None:
    finish(run(file("a")), failed(ValueError("caf\udce9.mp3")))
    assert rows(catalogue)["a"].error_detail == "unexpected ValueError: caf\\udce9.mp3"
