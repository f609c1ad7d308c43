"""A catalogue as Parquet."""

from __future__ import annotations

import io
import sys

import pytest
from pyarrow import parquet as pq

from ccmusic.batch import parquet
from ccmusic.batch.track_row import TrackRow
from ccmusic.errors import PackageMissing
from ccmusic.genres import taxonomy_of
from support.catalogue_rows import answer, answered, failed

NAME = b"/m/\xe9\n.mp3"


def rows():
    own = answer("b", 0.7, taxonomy_of("own", ("a", "b")), sure_level=2)
    return [
        answered(1, NAME, answer("Opera", 0.75, sure_level=16, flags=("truncated",)), payload="sha256:ab"),
        answered(2, b"/m/b.mp3", own, same_as=1),
        failed(3, b"/m/c.mp3", "undecodable-audio", "broken"),
        TrackRow(4, b"/m/d.mp3", "/m/d.mp3", "waiting"),
    ]


def test_a_row_for_each_track():
    out = io.BytesIO()
    assert parquet.write_parquet(rows(), out, 3) == 4
    first, second, third, fourth = pq.read_table(io.BytesIO(out.getvalue())).to_pylist()
    assert (first["path"], first["file"]) == (NAME, "/m/\\xe9\n.mp3")
    assert (first["genre_1"], first["probability_1"], first["sure_genre"]) == ("Opera", 0.75, "Opera")
    assert (first["flags"], first["sure_level"], first["payload"]) == (["truncated"], 16, "sha256:ab")
    assert first["classic_probability"] == pytest.approx(0.99, abs=0.02)
    assert (second["genre_1"], second["genre_2"], second["genre_3"], second["same_as"]) == ("b", "a", None, 1)
    assert (second["probability_3"], second["classic_probability"]) == (None, None)
    assert (third["status"], third["error_type"], third["error_detail"]) == ("failed", "undecodable-audio", "broken")
    assert (fourth["status"], fourth["genre_1"], fourth["flags"], fourth["error_type"]) == ("waiting", None, None, None)


def test_rows_are_written_in_groups(monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_AT_A_TIME", 1)
    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 3)
    out = io.BytesIO()
    parquet.write_parquet(rows(), out, 1)
    metadata = pq.ParquetFile(io.BytesIO(out.getvalue())).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [3, 1]


def test_a_group_is_written_before_the_next_is_read(monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_AT_A_TIME", 1)
    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 2)
    out, written = io.BytesIO(), []

    def tracks():
        for track in rows():
            written.append(out.tell())
            yield track

    parquet.write_parquet(tracks(), out, 1)
    first, second, third, fourth = written
    assert first == second < third == fourth


def test_a_catalogue_without_tracks_is_a_table_without_rows():
    out = io.BytesIO()
    assert parquet.write_parquet([], out, 1) == 0
    assert pq.read_table(io.BytesIO(out.getvalue())).num_rows == 0


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PackageMissing, match=r"pip install 'ccmusic\[batch\]'"):
        parquet.write_parquet(rows(), io.BytesIO(), 1)
