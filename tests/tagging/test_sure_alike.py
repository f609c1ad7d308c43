"""The playlists, the queue of the report and the plan of tags agree which answers are sure."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccmusic.batch.catalogue import Catalogue
from ccmusic.batch.playlists import write_playlists
from ccmusic.batch.report.page import collect
from ccmusic.batch.track_row import TrackRow
from ccmusic.tagging.propose import Wishes, propose
from ccmusic.tagging.vocabulary import shipped_vocabulary
from support.catalogue_rows import answer, answered, failed, write_catalogue
from support.tagged import make_song

SURE = {"sure_level": 16}
NOT_IN_THE_QUEUE = None


def rows(folder: Path) -> dict[str, TrackRow]:
    """A track of each kind; all but the gone one are songs without a genre."""

    def row(number: int, status: str = "ok", **changes: object) -> TrackRow:
        song = make_song("bare.flac", folder).rename(folder / f"{number}.flac")
        return answered(number, bytes(song), answer("Soft_rock", 0.9, **SURE | changes), status=status)

    return {
        "sure": row(1),
        "sure of a group": row(2, sure_level=9),
        "without thresholds": row(3, sure_level=None),
        "uncertain": row(4, sure_level=0),
        "uncertain without thresholds": row(5, sure_level=None, flags=("uncertain",)),
        "no music": row(6, odd="speech"),
        "too short": row(7, flags=("too_short",)),
        "stale": row(8, "stale"),
        "changed": row(9, "waiting"),
        "gone": row(10, "skipped"),
        "failed": failed(11, folder / "11.flac", "undecodable-audio", "broken"),
    }


@pytest.mark.parametrize(
    ("kind", "level", "genre", "written"),
    [
        ("sure", 16, "Soft rock", "Soft Rock"),
        ("sure of a group", 9, "Rock", "Rock"),
        ("without thresholds", 16, "Soft rock", "Soft Rock"),
        ("uncertain", 0, "", ""),
        ("uncertain without thresholds", 0, "", ""),
        ("no music", 0, "", ""),
        ("too short", 0, "", ""),
        ("stale", 0, "", ""),
        ("changed", NOT_IN_THE_QUEUE, "", ""),
        ("gone", NOT_IN_THE_QUEUE, "", ""),
        ("failed", NOT_IN_THE_QUEUE, "", ""),
    ],
)
def test_playlists_queue_and_plan_agree(kind: str, level: int | None, genre: str, written: str, tmp_path: Path) -> None:
    row = rows(tmp_path)[kind]
    planned = propose(row, Wishes(shipped_vocabulary()))
    assert (planned.action, planned.genres) == (("write", (written,)) if written else ("keep", None))

    with Catalogue.open(write_catalogue(tmp_path / "labels", [row]), read_only=True) as catalogue:
        library = collect(catalogue, lambda _: ())
    queue = library["queue"]["rows"]
    assert [(found["kind"], found["level"]) for found in queue] == (
        [] if level is None else [("missing" if level else "uncertain", level)]
    )
    assert (library["counts"]["sure"], library["counts"]["unsure"]) == (bool(level), level == 0)

    playlists = {path.stem for path in write_playlists([row], tmp_path / "lists", tmp_path / "labels").files}
    assert (genre in playlists) if written else (playlists == set())
