"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ccmusic.errors import InvalidParameter

if TYPE_CHECKING:
    from ccmusic.evaluation.labelled_data import Columns

DEFAULT_URL = "http://127.0.0.1:7860"
"""Where ``ccmusic serve`` listens by default."""


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``."""
    parser.add_argument(
        "--model", help="embedded, a model directory, or a checkpoint (default: the setting CCMUSIC_MODEL)"
    )


def add_taxonomy(parser: argparse.ArgumentParser) -> None:
    """Add ``--taxonomy`` and ``--level``."""
    parser.add_argument(
        "--taxonomy", metavar="T", help="ccmusic, world or own, if the model has it (default: its first)"
    )
    parser.add_argument(
        "--level", type=int, metavar="N", help="level of the taxonomy: 16, 9 or 2 (default: the finest)"
    )


def add_windows(parser: argparse.ArgumentParser) -> None:
    """Add ``--windows``."""
    parser.add_argument(
        "--windows",
        default="whole",
        metavar="W",
        help="what is analysed: whole, first30 (seconds), or a number of windows spread evenly (default: whole)",
    )


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add ``--jobs``."""
    parser.add_argument("--jobs", type=int, metavar="N", help="number of processes (default: one for each core)")


def jobs(options: argparse.Namespace) -> int:
    """Return the number of processes that read recordings.

    Raises
    ------
    InvalidParameter
    """
    from ccmusic.parallel import processors

    if options.jobs is not None and options.jobs < 1:
        raise InvalidParameter("--jobs", f"must be 1 or more, not {options.jobs}")
    return options.jobs or processors()


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that describe labelled recordings."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR_OR_CSV",
        help="a folder for each label (in it, if known, a folder for each artist), or a CSV with path, label, artist",
    )
    for name, meaning in (
        ("path", "the path of the recording"),
        ("label", "its label"),
        ("artist", "its artist, whose recordings all go to the same side of a split"),
    ):
        parser.add_argument(
            f"--{name}-column", default=name, metavar="NAME", help=f"column of the CSV with {meaning} (default: {name})"
        )


def columns(options: argparse.Namespace) -> Columns:
    """Return the names of the columns of the CSV."""
    from ccmusic.evaluation.labelled_data import Columns

    return Columns(options.path_column, options.label_column, options.artist_column)
