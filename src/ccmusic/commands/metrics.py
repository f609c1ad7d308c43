"""``ccmusic metrics``: list every metric."""

from __future__ import annotations

import argparse
from typing import Any

from ccmusic.commands.exit_codes import ExitCode


def add_command(commands: Any) -> None:
    """Add ``metrics`` to the command line."""
    parser = commands.add_parser(
        "metrics",
        help="list every metric with its labels and meaning, in Markdown",
        epilog="Example: ccmusic metrics > docs/metrics.md",
    )
    parser.set_defaults(run=_run)


def _run(_: argparse.Namespace) -> int:
    from ccmusic.monitoring.metrics_page import reference_page
    from ccmusic.serving.app import create_app
    from ccmusic.settings import read_settings

    print(reference_page(create_app(read_settings()).state.service.metrics.registry), end="")
    return ExitCode.OK
