"""``ccmusic batch export``: the tracks of a catalogue as a table or as playlists."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ccmusic.commands.exit_codes import ExitCode
from ccmusic.commands.messages import warn
from ccmusic.errors import InvalidParameter

if TYPE_CHECKING:
    from ccmusic.batch.track_row import TrackRow

FORMATS = ("csv", "jsonl", "parquet", "m3u8")
STANDARD_OUTPUT = "-"
MOST_GENRES = 1000
"""Upper bound of --top-k."""


def add_action(actions: Any, name: str) -> None:
    """Add the action to ``ccmusic batch``."""
    parser = actions.add_parser(
        name,
        help="write the tracks of a catalogue as CSV, JSON Lines, Parquet or playlists",
        description="Writes the tracks of a catalogue as a table with the columns of `ccmusic classify`, or as one "
        "playlist for each genre. A file is replaced only by a whole one. The catalogue may be in use by a run.",
        epilog="Example: ccmusic batch export genres --format csv --out genres.csv",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the catalogue")
    parser.add_argument("--format", required=True, choices=FORMATS, help="form of the export")
    parser.add_argument(
        "--out",
        metavar="FILE_OR_FOLDER",
        help="file to write, `-` for standard output (csv, jsonl); of m3u8 a folder (default: in DIR, tracks.csv, "
        "tracks.jsonl, tracks.parquet or playlists)",
    )
    parser.add_argument("--top-k", type=int, metavar="N", help="number of genres in csv and parquet (default: 5)")
    parser.add_argument(
        "--unsure",
        action="store_true",
        help="m3u8: also tracks whose answer is not sure, is stale or of a recording that is too short, or that seem "
        "to be no music, in the playlist of their likeliest genre",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ccmusic.batch.catalogue import Catalogue, catalogue_errors

    _check(options)
    with catalogue_errors(options.folder), Catalogue.open(options.folder, read_only=True) as catalogue:
        (_playlists if options.format == "m3u8" else _table)(catalogue.tracks(), options)
        if stale := catalogue.counts()["stale"]:
            warn(f"{stale} of the answers are stale: another model, version or setting gave them")
    return ExitCode.OK


def _check(options: argparse.Namespace) -> None:
    """Refuse arguments that another format has."""
    if options.top_k is not None:
        if options.format not in ("csv", "parquet"):
            raise InvalidParameter("--top-k", "is for csv and parquet only; jsonl has every genre")
        if not 1 <= options.top_k <= MOST_GENRES:
            raise InvalidParameter("--top-k", f"must be 1 to {MOST_GENRES}, not {options.top_k}")
    if options.unsure and options.format != "m3u8":
        raise InvalidParameter("--unsure", "is for m3u8 only; the tables say of each track how sure its answer is")
    if options.out == STANDARD_OUTPUT and options.format not in ("csv", "jsonl"):
        raise InvalidParameter("--out", f"must be a path for {options.format}, not standard output")


def _table(tracks: Iterator[TrackRow], options: argparse.Namespace) -> None:
    from ccmusic.batch.disk_errors import disk_errors
    from ccmusic.batch.whole_file import whole_file
    from ccmusic.inference.result import DEFAULT_TOP_K

    write = _writer(options.format, options.top_k or DEFAULT_TOP_K)
    if options.out == STANDARD_OUTPUT:
        with disk_errors("standard output", "--out"):
            write(tracks, sys.stdout.buffer)
            sys.stdout.flush()
        return
    path = Path(options.out) if options.out else options.folder / f"tracks.{options.format}"
    with whole_file(path) as out:
        n_tracks = write(tracks, out)
    print(f"{path}: {n_tracks} tracks")


def _writer(form: str, top_k: int) -> Callable[[Iterator[TrackRow], BinaryIO], int]:
    from ccmusic.batch import exports

    def write(tracks: Iterator[TrackRow], out: BinaryIO) -> int:
        if form == "parquet":
            from ccmusic.batch.parquet import write_parquet

            return write_parquet(tracks, out, top_k)
        # rows of CSV have their own line ends
        text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=False)
        try:
            return exports.write_csv(tracks, text, top_k) if form == "csv" else exports.write_json_lines(tracks, text)
        finally:
            text.detach()  # flushes, and leaves the file open

    return write


def _playlists(tracks: Iterator[TrackRow], options: argparse.Namespace) -> None:
    from ccmusic.batch.playlists import write_playlists

    folder = Path(options.out) if options.out else options.folder / "playlists"
    written = write_playlists(tracks, folder, options.folder, unsure=options.unsure)
    print(f"{folder}: {written.n_tracks} tracks in {len(written.files)} playlists")
    if written.removed:
        warn(f"{len(written.removed)} playlists of an earlier export are removed: no track has their genre now")
    for reason, count in sorted((+written.left_out).items()):
        warn(f"{count} tracks are in no playlist: {LEFT_OUT[reason]}")


LEFT_OUT = {
    "not sure": "their answers are not sure or stale, or they are too short or no music (--unsure takes them too)",
    "name": "their names are not UTF-8, or have a line end, which M3U8 cannot hold",
    "too many genres": "there are too many genres for one export",
}
"""The reasons of `ccmusic.batch.playlists.Playlists.left_out`, for people."""
