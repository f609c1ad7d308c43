"""A disk that is really full: every writer of ``batch`` and ``tag`` says so, with one exit code, and leaves nothing."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ccmusic.batch.run_lock import only_run
from ccmusic.cli import main
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.errors import InsufficientStorage
from ccmusic.genres import WORLD
from ccmusic.tagging.journal import Journal
from support.catalogue_rows import answer, answered, names_in, write_catalogue
from support.small_disk import fill

N_TRACKS = 200
"""Every export of them has more than 4 KiB."""


@pytest.fixture
def full_disk(small_disk: Path) -> Path:
    fill(small_disk / "filling", left=0)
    return small_disk


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    embedding = (np.eye(256)[0] / 8).astype("<f2").tobytes()
    found = answer("Jazz", 0.9, WORLD, sure_level=16)
    rows = [answered(number, tmp_path / f"{number}.mp3", found) for number in range(1, N_TRACKS + 1)]
    return write_catalogue(tmp_path / "labels", [replace(row, embedding=embedding) for row in rows])


def assert_full(code: int, printed: str, place: Path) -> None:
    assert code == ExitCode.CATALOGUE
    assert printed.startswith("ccmusic: No space is left for ")
    assert str(place) in printed
    assert os.strerror(errno.ENOSPC) in printed


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("batch", "export", "--format", "csv", "--out"), "a.csv"),
        (("batch", "export", "--format", "jsonl", "--out"), "a.jsonl"),
        (("batch", "export", "--format", "parquet", "--out"), "a.parquet"),
        (("batch", "export", "--format", "m3u8", "--out"), "playlists"),
        (("batch", "report", "--no-tags", "--out"), "report.html"),
        (("tag", "plan", "--out"), "plan.jsonl"),
    ],
)
def test_what_cannot_be_written_is_named(
    command: tuple[str, ...], name: str, catalogue: Path, full_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([*command, str(full_disk / name), str(catalogue)])
    assert_full(code, capsys.readouterr().err, full_disk)
    assert [found for found in names_in(full_disk) if found != name] == ["filling"]
    assert not (full_disk / name).exists() or names_in(full_disk / name) == []  # the folder of the playlists


@pytest.mark.parametrize("command", [("duplicates",), ("export", "--format", "m3u8")])
def test_temporary_files_that_cannot_be_written_are_named(
    command: tuple[str, ...],
    catalogue: Path,
    full_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(full_disk))
    code = main(["batch", command[0], str(catalogue), *command[1:]])
    printed = capsys.readouterr().err
    assert_full(code, printed, full_disk)
    assert "TMPDIR" in printed
    assert names_in(full_disk) == ["filling"]


def test_where_no_folder_takes_temporary_files_this_is_said(
    catalogue: Path, full_disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(full_disk)])
    assert main(["batch", "duplicates", str(catalogue)]) == ExitCode.CATALOGUE
    assert f"{full_disk}" in capsys.readouterr().err


def test_the_journal_and_the_lock_of_a_run_say_it_too(full_disk: Path) -> None:
    with pytest.raises(InsufficientStorage, match="No space is left for"):
        Journal(full_disk / "journal")
    with pytest.raises(InsufficientStorage, match="No space is left for"), only_run(full_disk):
        pytest.fail("it was locked")


def test_standard_output_that_cannot_be_written_is_named(
    catalogue: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115  closing it fails too
    monkeypatch.setattr("sys.stdout", full)
    code = main(["batch", "export", str(catalogue), "--format", "csv", "--out", "-"])
    with suppress(OSError):
        full.close()
    assert_full(code, capsys.readouterr().err, Path("standard output"))
