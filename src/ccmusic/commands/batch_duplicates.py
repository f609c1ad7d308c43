"""``ccmusic batch duplicates``: the same recording in several files, also in other encodings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ccmusic.commands.exit_codes import ExitCode


def add_action(actions: Any, name: str) -> None:
    """Add the action to ``ccmusic batch``."""
    parser = actions.add_parser(
        name,
        help="list the same recording in several files, also in other encodings",
        description="Lists tracks of a catalogue that are one recording, by their acoustic identity and length: the "
        "paths of a group, then an empty line. What is shorter than 10 seconds, hardly changes or is no music is in no "
        "group. Reads the catalogue, and no recording.",
        epilog="Example: ccmusic batch duplicates ~/labels",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the catalogue")
    parser.add_argument("--json", action="store_true", help="print a JSON object per group")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ccmusic.batch.answer_rows import json_line
    from ccmusic.batch.catalogue import Catalogue, catalogue_errors
    from ccmusic.batch.duplicates import duplicate_groups, identities
    from ccmusic.process.log_lines import one_line

    with catalogue_errors(options.folder), Catalogue.open(options.folder, read_only=True) as catalogue:
        for group in duplicate_groups(identities(catalogue)):
            tracks = [track for number in group if (track := catalogue.track(number)) is not None]
            if options.json:
                print(json_line({"files": [str(track.file) for track in tracks]}, sys.stdout.encoding))
            else:
                print("\n".join(one_line(track.name, len(track.name)) for track in tracks), end="\n\n")
    return ExitCode.OK
