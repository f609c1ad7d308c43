"""``ccmusic batch export``."""

from __future__ import annotations

import csv
import json
import sys

import pytest

from ccmusic.batch import exports
from ccmusic.batch.catalogue import Catalogue
from ccmusic.cli import main
from ccmusic.commands.exit_codes import ExitCode
from support.catalogue_rows import answer, answered, failed, names_in, write_catalogue


@pytest.fixture
def catalogue(tmp_path):
    rows = [
        answered(1, tmp_path / "a.mp3", answer("Opera", 0.75, sure_level=16)),
        answered(2, tmp_path / "b.mp3", answer("Opera", 0.5), status="stale"),
        failed(3, tmp_path / "c.mp3", "undecodable-audio", "broken"),
    ]
    return write_catalogue(tmp_path / "genres", rows)


def export(catalogue, *arguments):
    return main(["batch", "export", str(catalogue), *map(str, arguments)])


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_table_goes_into_the_folder_of_the_catalogue(catalogue, capsys, form):
    assert export(catalogue, "--format", form) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{catalogue / f'tracks.{form}'}: 3 tracks\n"
    assert "1 of the answers are stale" in printed.err
    assert (catalogue / f"tracks.{form}").stat().st_size > 0
    assert [name for name in names_in(catalogue) if "incomplete" in name] == []


def test_csv_has_the_requested_number_of_genres(catalogue, tmp_path):
    out = tmp_path / "new" / "genres.csv"
    assert export(catalogue, "--format", "csv", "--top-k", 1, "--out", out) == 0
    first, *_ = csv.DictReader(out.read_text("utf-8").splitlines())
    assert "genre_1" in first
    assert "genre_2" not in first


def test_standard_output_has_the_rows_and_nothing_else(catalogue, capfdbinary):
    assert export(catalogue, "--format", "jsonl", "--out", "-") == 0
    rows = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [row["status"] for row in rows] == ["ok", "stale", "failed"]
    assert "tracks.jsonl" not in names_in(catalogue)


def test_playlists_go_into_a_folder(catalogue, capsys):
    assert export(catalogue, "--format", "m3u8") == 0
    printed = capsys.readouterr()
    assert names_in(catalogue / "playlists") == ["Classical.m3u8", "Opera.m3u8"]
    assert "1 tracks in 2 playlists" in printed.out
    assert "1 tracks are in no playlist: their answers are not sure" in printed.err
    assert export(catalogue, "--format", "m3u8", "--unsure") == 0
    assert "2 tracks in 2 playlists" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "jsonl", "--top-k", "3"), "--top-k is for csv and parquet only"),
        (("--format", "csv", "--top-k", "0"), "--top-k must be 1 to 1000"),
        (("--format", "csv", "--unsure"), "--unsure is for m3u8 only"),
        (("--format", "parquet", "--out", "-"), "--out must be a path for parquet"),
    ],
)
def test_arguments_of_another_format_are_refused(catalogue, capsys, arguments, message):
    assert export(catalogue, *arguments) == 2
    assert message in capsys.readouterr().err


def test_an_error_in_the_middle_leaves_the_last_export(catalogue, monkeypatch):
    assert export(catalogue, "--format", "csv") == 0
    before = (catalogue / "tracks.csv").read_bytes()

    def fail(*_):
        raise RuntimeError

    monkeypatch.setattr(exports, "answer_of", fail)
    with pytest.raises(RuntimeError):
        export(catalogue, "--format", "csv")
    assert (catalogue / "tracks.csv").read_bytes() == before
    assert [name for name in names_in(catalogue) if "incomplete" in name] == []


def test_without_pyarrow_the_extra_is_named_and_the_model_is_not(catalogue, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert export(catalogue, "--format", "parquet") == ExitCode.PACKAGE_MISSING
    printed = capsys.readouterr().err
    assert printed.startswith("ccmusic: --format parquet needs the package pyarrow, which cannot be imported (")
    assert printed.endswith("pip install 'ccmusic[batch]', or choose csv or jsonl\n")
    assert [name for name in names_in(catalogue) if "parquet" in name] == []


def test_playlists_of_genres_that_are_gone_are_removed(catalogue, capsys):
    assert export(catalogue, "--format", "m3u8", "--unsure") == 0
    with Catalogue.open(catalogue) as opened:
        opened.connection.execute("UPDATE tracks SET status = 'skipped'")
    capsys.readouterr()
    assert export(catalogue, "--format", "m3u8") == 0
    assert "2 playlists of an earlier export are removed" in capsys.readouterr().err
    assert names_in(catalogue / "playlists") == []
