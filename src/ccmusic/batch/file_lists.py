"""Paths from playlists and manifests, one at a time: M3U and M3U8, CSV, Parquet."""

from __future__ import annotations

import csv
import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ccmusic.batch.pyarrow_library import require_pyarrow
from ccmusic.errors import InvalidParameter

PLAYLIST_SUFFIXES = frozenset((b".m3u", b".m3u8"))
LIST_SUFFIXES = PLAYLIST_SUFFIXES | {b".csv", b".parquet"}

MOST_LINE_BYTES = 64 * 1024
"""Of one line of a playlist; a path has at most 4096 bytes."""

BATCH_ROWS = 4096
"""Rows of a Parquet file that are in memory at once."""


def listed_paths(file: bytes, path_column: str) -> Iterator[bytes]:
    """Yield the absolute paths that a list names, in its order. Relative ones start at the folder of the list.

    Parameters
    ----------
    file : bytes
        Its suffix is one of `LIST_SUFFIXES`.
    path_column : str
        Name of the column of a CSV or Parquet file.

    Raises
    ------
    InvalidParameter, PackageMissing
        The list cannot be read, or has no such column; or it is Parquet, and the package pyarrow is missing.
    """
    suffix = os.path.splitext(file)[1].lower()
    folder = os.path.dirname(file)
    name = os.fsdecode(file)
    if suffix in PLAYLIST_SUFFIXES:
        paths = _in_playlist(file, folder)
    else:
        paths = _in_csv(name, path_column) if suffix == b".csv" else _in_parquet(name, path_column)
    try:
        for path in paths:
            yield os.path.abspath(os.path.join(folder, path))
    except (OSError, UnicodeError, csv.Error) as error:
        raise InvalidParameter("PATH", f"{name} cannot be read: {error}") from error


def _in_playlist(file: bytes, folder: bytes) -> Iterator[bytes]:
    with Path(os.fsdecode(file)).open("rb") as lines:
        first = True
        while line := lines.readline(MOST_LINE_BYTES):
            text = (line.removeprefix(b"\xef\xbb\xbf") if first else line).strip()
            first = False
            if text and not text.startswith(b"#"):
                yield _present(text, folder)


def _present(text: bytes, folder: bytes) -> bytes:
    """The form of a playlist's entry that names a file; players write addresses, Windows' separators and encodings."""
    if text.startswith(b"file://"):
        return urllib.parse.unquote_to_bytes(text.removeprefix(b"file://").removeprefix(b"localhost"))
    forms = [text, text.replace(b"\\", b"/")]
    try:
        text.decode()
    except UnicodeDecodeError:  # an .m3u in the code page of Western Windows
        forms += [form.decode("cp1252", "replace").encode() for form in forms]
    return next((form for form in forms if os.path.lexists(os.path.join(folder, form))), text)


def _in_csv(name: str, column: str) -> Iterator[bytes]:
    # surrogateescape: a path need not be UTF-8
    with Path(name).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        rows = csv.DictReader(text)
        if column not in (rows.fieldnames or ()):
            raise _no_column(name, column, rows.fieldnames or ())
        for row in rows:
            if path := row[column]:
                yield os.fsencode(path)


def _in_parquet(name: str, column: str) -> Iterator[bytes]:
    pyarrow, parquet = require_pyarrow(f"reading {name}", "give a CSV file")
    try:
        with parquet.ParquetFile(name) as table:
            if column not in table.schema_arrow.names:
                raise _no_column(name, column, table.schema_arrow.names)
            for batch in table.iter_batches(BATCH_ROWS, columns=[column]):
                for value in batch.column(0).to_pylist():
                    if value:
                        yield value if isinstance(value, bytes) else os.fsencode(str(value))
    except pyarrow.ArrowException as error:
        raise InvalidParameter("PATH", f"{name} cannot be read: {error}") from error


def _no_column(name: str, column: str, columns: Any) -> InvalidParameter:
    return InvalidParameter(
        "PATH", f"{name} has no column {column!r} (--path-column); it has {', '.join(map(repr, columns))}"
    )
