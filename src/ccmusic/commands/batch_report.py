"""``ccmusic batch report``: one HTML file about a library."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccmusic.commands.exit_codes import ExitCode
from ccmusic.commands.messages import warn
from ccmusic.errors import CcmusicError, PackageMissing

if TYPE_CHECKING:
    from ccmusic.batch.report.review import GenresOfFile
    from ccmusic.batch.track_row import TrackRow

REPORT_NAME = "report.html"


def add_action(actions: Any, name: str) -> None:
    """Add the action to ``ccmusic batch``."""
    parser = actions.add_parser(
        name,
        help="make an HTML report with a review queue, which opens from disk",
        description="Writes one HTML file, in English and Chinese: genre mix, certainty, a map of the library, what "
        "failed and what to do about it, and a queue to review answers. It opens without a network, and sends nothing. "
        "The catalogue may be in use by a run.",
        epilog="Example: ccmusic batch report ~/labels --out report.html",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the catalogue")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"file to write (default: {REPORT_NAME} in DIR)")
    parser.add_argument(
        "--no-tags", action="store_true", help="do not read the genres in the files, to compare the answers with them"
    )
    parser.add_argument(
        "--vocabulary", type=Path, metavar="FILE", help="your genres for our labels, as for `ccmusic tag plan`"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    # imported late: `--help` must not wait for NumPy
    from tqdm import tqdm

    from ccmusic.batch.catalogue import Catalogue, catalogue_errors
    from ccmusic.batch.report.page import write_report
    from ccmusic.batch.whole_file import whole_file
    from ccmusic.tagging.vocabulary import read_vocabulary, shipped_vocabulary

    path: Path = options.out or options.folder / REPORT_NAME
    vocabulary = shipped_vocabulary() if options.vocabulary is None else read_vocabulary(options.vocabulary)
    genres_of_file = None if options.no_tags else _reader()
    with catalogue_errors(options.folder), Catalogue.open(options.folder, read_only=True) as catalogue:
        total = sum(catalogue.counts().values())
        # disable=None: shown on a terminal only
        follow = partial(tqdm, total=total, unit="track", disable=True if options.quiet else None, leave=False)
        with whole_file(path) as out:
            write_report(catalogue, out, genres_of_file, vocabulary.genres, follow=follow)
    print(f"{path}: {total} tracks")
    return ExitCode.OK


def _reader() -> GenresOfFile | None:
    """What reads the genres of a file; None, with a warning, if the package for it is missing."""
    from ccmusic.tagging.fields import read_fields
    from ccmusic.tagging.mutagen_library import require_mutagen

    try:
        require_mutagen()
    except PackageMissing as error:
        warn(f"the genres in the files are not read: {error}")
        return None

    def genres_of_file(track: TrackRow) -> tuple[str, ...] | None:
        try:
            return read_fields(track.file).genres
        except (CcmusicError, OSError):
            return None

    return genres_of_file
