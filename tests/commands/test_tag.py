"""``ccmusic tag`` from the results of a batch to undone tags."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from ccmusic import cli
from ccmusic.audio.payload_hash import payload_hash
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.tagging import changes
from ccmusic.tagging.fields import change_fields, read_fields
from ccmusic.tagging.journal import Journal
from support.catalogue_rows import answer, answered, write_catalogue
from support.locks import no_locks
from support.tagged import make_song


@pytest.fixture
def songs(tmp_path: Path) -> list[Path]:
    (tmp_path / "music").mkdir()
    songs = [make_song(name, tmp_path / "music") for name in ("song.flac", "ID3v2.3.mp3", "song.m4a")]
    change_fields(songs[2], ["Polka"], None)
    return songs


@pytest.fixture
def results(songs: list[Path], tmp_path: Path) -> Path:
    found = answer("Soul_or_RnB", 0.8, sure_level=16)
    rows = [
        answered(number, os.fsencode(song), found, payload=payload_hash(song), size=1, modified_ns=1)
        for number, song in enumerate(songs, 1)
    ]
    return write_catalogue(tmp_path / "results", rows)


def test_from_the_plan_to_the_undo(
    songs: list[Path], results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.jsonl"
    before = [song.read_bytes() for song in songs]
    assert cli.main(["tag", "plan", str(results), "--out", str(plan)]) == ExitCode.OK
    assert "2  write" in capsys.readouterr().out
    assert [song.read_bytes() for song in songs] == before
    assert cli.main(["tag", "verify", str(plan)]) == ExitCode.SOME_FAILED
    assert cli.main(["tag", "apply", str(plan)]) == ExitCode.OK
    assert "2 written" in capsys.readouterr().out
    assert [read_fields(song).genres for song in songs] == [("Soul", "R&B"), ("Soul/R&B",), ("Polka",)]
    assert cli.main(["tag", "verify", str(plan)]) == ExitCode.OK
    assert cli.main(["tag", "undo", str(plan)]) == ExitCode.OK
    assert [read_fields(song).genres for song in songs] == [(), (), ("Polka",)]


def test_the_options_of_a_plan_are_heeded(songs: list[Path], results: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[genres]\nSoul_or_RnB = "SOUL"\n')
    plan = tmp_path / "plan.jsonl"
    options = ["--replace", "--evidence", "--vocabulary", str(tmp_path / "mine.toml")]
    assert cli.main(["tag", "plan", str(results), "--out", str(plan), *options]) == ExitCode.OK
    first, *lines = [json.loads(line) for line in plan.read_text().splitlines()]
    assert (first["mode"], first["vocabulary"]) == ("replace", str(tmp_path / "mine.toml"))
    assert [line["genres"] for line in lines] == [["SOUL"]] * 3
    assert all(line["own"]["CCMUSIC_GENRE"] == "Soul_or_RnB" for line in lines)
    with pytest.raises(SystemExit):
        cli.main(["tag", "plan", str(results), "--out", "x", "--replace", "--add"])


def test_files_that_are_left_give_an_exit_code_and_reasons(
    songs: list[Path], results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.jsonl"
    cli.main(["tag", "plan", str(results), "--out", str(plan)])
    change_fields(songs[0], ["Jazz"], None)
    assert cli.main(["tag", "apply", str(plan)]) == ExitCode.SOME_FAILED
    printed = capsys.readouterr()
    assert "1 left, 1 written" in printed.out
    assert f"left {songs[0]}: was changed since the plan was made" in printed.err


def test_a_new_time_is_given_on_request(songs: list[Path], results: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.jsonl"
    cli.main(["tag", "plan", str(results), "--out", str(plan)])
    for song in songs:
        os.utime(song, ns=(0, 0))
    cli.main(["tag", "apply", str(plan), "--touch"])
    assert songs[0].stat().st_mtime_ns > 0


def test_a_second_command_is_refused(
    songs: list[Path], results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.jsonl"
    cli.main(["tag", "plan", str(results), "--out", str(plan)])
    with Journal(tmp_path / "plan.jsonl.journal"):
        assert cli.main(["tag", "apply", str(plan)]) == ExitCode.SOME_FAILED
    assert "Another command uses the journal" in capsys.readouterr().err
    assert read_fields(songs[0]).genres == ()


def test_without_locks_for_the_journal_no_file_is_changed(
    songs: list[Path],
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = tmp_path / "plan.jsonl"
    cli.main(["tag", "plan", str(results), "--out", str(plan)])
    no_locks(monkeypatch)
    assert cli.main(["tag", "apply", str(plan)]) == ExitCode.USAGE
    assert f"--journal is {plan}.journal, which cannot be locked: No locks available" in capsys.readouterr().err
    assert read_fields(songs[0]).genres == ()


def test_a_full_disk_is_said(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(changes, "replace_file", full)
    plan = tmp_path / "plan.jsonl"
    cli.main(["tag", "plan", str(results), "--out", str(plan)])
    assert cli.main(["tag", "apply", str(plan)]) == ExitCode.CATALOGUE
    assert "No space is left" in capsys.readouterr().err


def test_without_a_journal_there_is_nothing_to_undo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tag", "undo", str(tmp_path / "plan")]) == ExitCode.USAGE
    assert "does not exist" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_results_there_is_no_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tag", "plan", str(tmp_path), "--out", str(tmp_path / "plan")]) == ExitCode.CATALOGUE
    assert "There is no catalogue" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("action", ["plan", "apply", "verify", "undo"])
def test_without_mutagen_the_extra_is_named(
    action: str, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mutagen", None)
    plan = str(tmp_path / "plan")
    arguments = ["plan", str(results), "--out", plan] if action == "plan" else [action, plan]
    assert cli.main(["tag", *arguments]) == ExitCode.PACKAGE_MISSING
    printed = capsys.readouterr().err
    assert printed.startswith("ccmusic: reading tags needs the package mutagen, which cannot be imported (")
    assert "pip install 'ccmusic[tags]'" in printed
