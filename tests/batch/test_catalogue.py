from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from ccmusic.batch.catalogue import CATALOGUE_NAME, Catalogue, catalogue_errors
from ccmusic.batch.track_row import COLUMNS, STATUSES, TrackRow, valid_text
from ccmusic.errors import CatalogueError, InsufficientStorage

ROOT = Path(__file__).parents[2]


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue.open(tmp_path / "out") as opened:
        yield opened


def row(number: int, status: str = "waiting", **changes: object) -> TrackRow:
    return TrackRow(number, b"/music/%d.mp3" % number, f"/music/{number}.mp3", status, **changes)


def test_a_track_is_read_as_it_was_written(catalogue: Catalogue) -> None:
    everything = TrackRow(
        id=7,
        path=b"/music/\xff.mp3",
        name=valid_text(b"/music/\xff.mp3"),
        status="ok",
        size=1,
        modified_ns=1_700_000_000_123_456_789,
        payload="sha256:0",
        fingerprint=catalogue.begin_run({"model": "a"}, "ccmusic batch"),
        answer='{"genre": "Symphony"}',
        genre="Symphony",
        probability=0.5,
        sure_level=9,
        sure_genre="Classic",
        odd="speech",
        flags='["uncertain"]',
        duration_seconds=1.5,
        embedding=b"\x00\x3c",
        error_type="internal",
        error_detail="none",
        same_as=None,
        attempts=2,
        seconds=0.25,
        finished_at="2026-01-01T00:00:00+00:00",
    )
    assert all(getattr(everything, field.name) is not None for field in fields(TrackRow) if field.name != "same_as")
    with catalogue.transaction():
        catalogue.record(everything)
    assert list(catalogue.tracks()) == [everything]
    assert os.fsencode(everything.file) == everything.path
    assert everything.name == "/music/\\xff.mp3"


def test_a_second_record_replaces_the_row_and_counts_once(catalogue: Catalogue) -> None:
    for status in ("waiting", "failed", "ok"):
        with catalogue.transaction():
            catalogue.record(row(1, status))
    assert catalogue.counts() == {"waiting": 0, "ok": 1, "failed": 0, "skipped": 0, "stale": 0}
    assert catalogue.track(1) == row(1, "ok")
    assert catalogue.track(2) is None


def test_tracks_are_in_the_order_of_their_ids_and_by_status(catalogue: Catalogue) -> None:
    with catalogue.transaction():
        for number in (3, 1, 2):
            catalogue.record(row(number, "failed" if number == 2 else "ok"))
    assert [track.id for track in catalogue.tracks()] == [1, 2, 3]
    assert [track.id for track in catalogue.tracks("ok")] == [1, 3]
    assert set(catalogue.counts()) == set(STATUSES)


def test_a_status_of_no_meaning_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(sqlite3.IntegrityError), catalogue.transaction():
        catalogue.record(row(1, "done"))


def test_a_transaction_that_fails_writes_nothing(catalogue: Catalogue) -> None:
    with pytest.raises(KeyboardInterrupt), catalogue.transaction():
        catalogue.record(row(1))
        raise KeyboardInterrupt
    assert list(catalogue.tracks()) == []


def test_readers_see_the_moment_at_which_they_began_while_a_run_writes(catalogue: Catalogue, tmp_path: Path) -> None:
    with catalogue.transaction():
        catalogue.record(row(1))
        catalogue.record(row(2))
    with Catalogue.open(tmp_path / "out", read_only=True) as reader:
        tracks = reader.tracks()
        first = next(tracks)
        with catalogue.transaction():
            catalogue.record(row(2, "ok"))
            catalogue.record(row(3))
        assert [first, *tracks] == [row(1), row(2)]
        assert reader.counts()["ok"] == 1


def test_a_reader_cannot_write(catalogue: Catalogue, tmp_path: Path) -> None:
    with (
        Catalogue.open(tmp_path / "out", read_only=True) as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        reader.record(row(1))


def test_the_fingerprint_is_that_of_the_newest_run(catalogue: Catalogue) -> None:
    assert catalogue.fingerprint() is None
    first = catalogue.begin_run({"model": "a", "windows": "whole"}, "ccmusic batch a")
    catalogue.end_run("finished")
    second = catalogue.begin_run({"model": "b"}, "ccmusic batch b")
    assert catalogue.fingerprint() == {"model": "b"}
    assert second != first
    assert catalogue.begin_run({"windows": "whole", "model": "a"}, "ccmusic batch a") == first
    runs = list(catalogue.connection.execute("SELECT fingerprint, ended_how, command FROM runs ORDER BY id"))
    assert runs == [
        (first, "finished", "ccmusic batch a"),
        (second, None, "ccmusic batch b"),
        (first, None, "ccmusic batch a"),
    ]


def test_what_was_written_is_there_after_a_kill_without_a_close(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from ccmusic.batch.catalogue import Catalogue;"
        "from ccmusic.batch.track_row import TrackRow; c = Catalogue.open(Path(sys.argv[1]));\n"
        "with c.transaction(): c.record(TrackRow(1, b'/a', '/a', 'ok'))\n"
        "c.connection.execute('BEGIN IMMEDIATE'); c.record(TrackRow(2, b'/b', '/b', 'ok'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code, tmp_path / "out"], env=environment, check=False)
    assert ended.returncode == -9
    with Catalogue.open(tmp_path / "out") as catalogue:
        assert [track.path for track in catalogue.tracks()] == [b"/a"]


READ_WITHOUT_RIGHTS = """
import ctypes, os, sys
from pathlib import Path
from ccmusic.batch.catalogue import Catalogue
if sys.argv[2] == "with rights":  # root may write everywhere, unless a later program of this process may not have it
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
    os.execv(sys.executable, [*sys.orig_argv[:-1], "without"])
assert not os.access(sys.argv[1], os.W_OK)
with Catalogue.open(Path(sys.argv[1]), read_only=True) as catalogue:
    print(catalogue.counts()["ok"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it takes a right from root")
def test_a_folder_that_cannot_be_written_to_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with Catalogue.open(folder) as catalogue, catalogue.transaction():
        catalogue.record(row(1, "ok"))
    assert [path.name for path in folder.iterdir()] == [CATALOGUE_NAME]
    folder.chmod(0o555)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", READ_WITHOUT_RIGHTS, folder, "with rights"]
    assert subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout == "1\n"
    assert [path.name for path in folder.iterdir()] == [CATALOGUE_NAME]


def test_a_missing_catalogue_says_how_one_is_made(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="ccmusic batch PATH --out"):
        Catalogue.open(tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read_only", [True, False])
def test_what_is_no_catalogue_is_refused(tmp_path: Path, read_only: bool) -> None:
    (tmp_path / CATALOGUE_NAME).write_bytes(b"no database" * 1000)
    with pytest.raises(CatalogueError, match="not a database"):
        Catalogue.open(tmp_path, read_only)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_catalogue_of_another_version_is_refused_and_not_changed(tmp_path: Path, read_only: bool) -> None:
    with Catalogue.open(tmp_path) as catalogue:
        catalogue.connection.execute("PRAGMA user_version = 99")
    before = (tmp_path / CATALOGUE_NAME).read_bytes()
    with pytest.raises(CatalogueError, match="version 99"):
        Catalogue.open(tmp_path, read_only)
    assert (tmp_path / CATALOGUE_NAME).read_bytes() == before


def test_a_folder_that_is_a_file_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(CatalogueError, match="cannot be used"):
        Catalogue.open(tmp_path / "out")


def test_a_full_disk_is_named(catalogue: Catalogue, tmp_path: Path) -> None:
    (pages,) = catalogue.connection.execute("PRAGMA page_count").fetchone()
    catalogue.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(InsufficientStorage, match="No space"), catalogue_errors(tmp_path), catalogue.transaction():
        for number in range(1, 1000):
            catalogue.record(row(number))


def test_the_page_has_every_column() -> None:
    page = (ROOT / "docs/batch.md").read_text(encoding="utf-8")
    assert [line.split("`")[1] for line in page.splitlines() if line.startswith("| `tracks.")] == [
        f"tracks.{name}" for name in COLUMNS
    ]
