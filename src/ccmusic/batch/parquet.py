"""A catalogue as a Parquet file, written in row groups, so memory is flat. Needs pyarrow (extra ``batch``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from ccmusic.batch.answer_rows import classic_probability, rank_columns, ranks, sure_level
from ccmusic.batch.exports import answer_of
from ccmusic.batch.pyarrow_library import require_pyarrow

if TYPE_CHECKING:
    from ccmusic.batch.track_row import TrackRow

ROWS_PER_GROUP = 50_000

ROWS_AT_A_TIME = 2000
"""Rows that are Python objects at the same time; in a group they are Arrow's, which take a tenth of the memory."""


def write_parquet(tracks: Iterable[TrackRow], out: BinaryIO, top_k: int) -> int:
    """Write a row per track, with `top_k` genres and their probabilities.

    Parameters
    ----------
    tracks : iterable of TrackRow
    out : BinaryIO
    top_k : int

    Returns
    -------
    int
        The number of tracks.

    Raises
    ------
    PackageMissing
        pyarrow is not installed.
    """
    pa, parquet = require_pyarrow("--format parquet", "choose csv or jsonl")
    schema = _schema(pa, top_k)
    n_tracks = 0
    rows = (_row(track, top_k) for track in tracks)
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for group in _groups(_batches(pa, rows, schema)):
            table = pa.Table.from_batches(group, schema)
            writer.write_table(table, row_group_size=ROWS_PER_GROUP)
            n_tracks += table.num_rows
    return n_tracks


def _batches(pa: Any, rows: Iterator[dict[str, Any]], schema: Any) -> Iterator[Any]:
    while some := list(islice(rows, ROWS_AT_A_TIME)):
        yield pa.RecordBatch.from_pylist(some, schema=schema)


def _groups(batches: Iterator[Any]) -> Iterator[list[Any]]:
    while group := list(islice(batches, ROWS_PER_GROUP // ROWS_AT_A_TIME)):
        yield group


def _schema(pa: Any, top_k: int) -> Any:
    text, number = pa.string(), pa.float64()
    return pa.schema(
        [
            ("file", text),
            ("path", pa.binary()),
            ("duration_seconds", number),
            ("classic_probability", number),
            ("sure_level", pa.int32()),
            ("sure_genre", text),
            ("odd", text),
            ("flags", pa.list_(text)),
            *((name, text if name.startswith("genre") else number) for name in rank_columns(top_k)),
            ("error_type", text),
            ("error_detail", text),
            ("id", pa.int64()),
            ("status", text),
            ("payload", text),
            ("same_as", pa.int64()),
        ]
    )


def _row(track: TrackRow, top_k: int) -> dict[str, Any]:
    row = {
        # Parquet's texts are UTF-8: `path` has the exact bytes
        "file": track.name,
        "path": track.path,
        "sure_genre": track.sure_genre,
        "error_type": track.error_type,
        "error_detail": track.error_detail,
        "id": track.id,
        "status": track.status,
        "payload": track.payload,
        "same_as": track.same_as,
    }
    answer = answer_of(track)
    if "predictions" not in answer:
        return row
    genres = zip(rank_columns(top_k), (None if cell == "" else cell for cell in ranks(answer, top_k)), strict=True)
    return row | {
        "duration_seconds": answer["duration_seconds"],
        "classic_probability": classic_probability(answer),
        "sure_level": sure_level(answer),
        "odd": answer["odd"],
        "flags": answer["flags"],
        **dict(genres),
    }
