from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from ccmusic.batch.file_lists import BATCH_ROWS, MOST_LINE_BYTES, listed_paths
from ccmusic.errors import InvalidParameter, PackageMissing

Listed = Callable[..., list[str]]


@pytest.fixture
def listed(tmp_path: Path) -> Listed:
    """What a list names, relative to its folder."""

    def read(name: str, content: bytes, column: str = "path") -> list[str]:
        (tmp_path / name).write_bytes(content)
        folder = os.fsencode(tmp_path)
        return [
            os.fsdecode(os.path.relpath(path, folder)) if path.startswith(folder) else os.fsdecode(path)
            for path in listed_paths(os.fsencode(tmp_path / name), column)
        ]

    return read


def test_a_playlist_with_comments_empty_lines_and_a_byte_order_mark(listed: Listed) -> None:
    content = "\ufeff#EXTM3U\r\n#EXTINF:10,Name\r\nd/a.mp3\r\n\r\n  b.mp3  \n/abs/c.mp3\nd/../e.mp3".encode()
    assert listed("x.M3U8", content) == ["d/a.mp3", "b.mp3", "/abs/c.mp3", "e.mp3"]


def test_addresses_of_files_and_separators_of_windows_name_files(listed: Listed, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a b.mp3").touch()
    assert listed("x.m3u", b"d\\a b.mp3\n") == ["d/a b.mp3"]
    assert listed("x.m3u", f"file://{tmp_path}/d/a%20b.mp3".encode()) == ["d/a b.mp3"]


def test_a_playlist_in_the_code_page_of_windows(listed: Listed, tmp_path: Path) -> None:
    (tmp_path / "café.mp3").touch()
    assert listed("x.m3u", b"caf\xe9.mp3") == ["café.mp3"]
    (tmp_path / os.fsdecode(b"caf\xe9.mp3")).touch()
    assert listed("x.m3u", b"caf\xe9.mp3") == [os.fsdecode(b"caf\xe9.mp3")]


def test_a_playlist_that_is_one_endless_line_is_read_in_pieces(listed: Listed) -> None:
    pieces = listed("x.m3u", b"x" * (3 * MOST_LINE_BYTES))
    assert [len(piece) for piece in pieces] == [MOST_LINE_BYTES] * 3


def test_a_csv_with_its_column_and_names_that_are_not_utf_8(listed: Listed) -> None:
    assert listed("x.csv", b'label,path\nrock,"a,b.mp3"\npop,\nsoul,caf\xe9.mp3\n') == [
        "a,b.mp3",
        os.fsdecode(b"caf\xe9.mp3"),
    ]
    assert listed("x.csv", "\ufefffile\na.mp3\n".encode(), "file") == ["a.mp3"]


@pytest.mark.parametrize("content", [b"label\nrock\n", b""])
def test_a_csv_without_the_column_is_refused(listed: Listed, content: bytes) -> None:
    with pytest.raises(InvalidParameter, match="no column 'path'"):
        listed("x.csv", content)


def test_a_csv_with_a_giant_field_is_refused(listed: Listed) -> None:
    with pytest.raises(InvalidParameter, match="field larger"):
        listed("x.csv", b"path\n" + b"x" * 200_000)


def test_parquet_is_read_in_batches(listed: Listed, tmp_path: Path) -> None:
    names = [f"{number}.mp3" for number in range(BATCH_ROWS + 1)]
    parquet.write_table(pyarrow.table({"path": [*names, None], "x": [1] * (len(names) + 1)}), tmp_path / "made.parquet")
    assert listed("x.parquet", (tmp_path / "made.parquet").read_bytes()) == names


def test_parquet_with_names_as_bytes(listed: Listed, tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"file": [b"caf\xe9.mp3"]}), tmp_path / "made.parquet")
    assert listed("x.parquet", (tmp_path / "made.parquet").read_bytes(), "file") == [os.fsdecode(b"caf\xe9.mp3")]


def test_parquet_that_is_none_or_lacks_the_column_is_refused(listed: Listed, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="cannot be read"):
        listed("x.parquet", b"no parquet at all")
    parquet.write_table(pyarrow.table({"file": ["a.mp3"]}), tmp_path / "made.parquet")
    with pytest.raises(InvalidParameter, match=r"no column 'path' .*'file'"):
        listed("x.parquet", (tmp_path / "made.parquet").read_bytes())


def test_parquet_without_pyarrow_names_the_extra(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PackageMissing, match=r"ccmusic\[batch\]"):
        listed("x.parquet", b"")


def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="No such file"):
        list(listed_paths(os.fsencode(tmp_path / "absent.m3u"), "path"))
