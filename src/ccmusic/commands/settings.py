"""``ccmusic settings``: list every setting."""

from __future__ import annotations

import argparse
from typing import Any

from ccmusic.commands.exit_codes import ExitCode


def add_command(commands: Any) -> None:
    """Add ``settings`` to the command line."""
    parser = commands.add_parser(
        "settings",
        help="list every setting with its present value and its meaning",
        epilog="Example: CCMUSIC_PORT=8080 ccmusic settings",
    )
    parser.add_argument("--markdown", action="store_true", help="print docs/settings.md: every setting and its default")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.markdown:
        from ccmusic.commands.settings_page import settings_page

        print(settings_page(), end="")
        return ExitCode.OK
    from ccmusic.settings import read_settings

    settings = read_settings()
    for name, field in type(settings).model_fields.items():
        print(f"CCMUSIC_{name.upper()}={getattr(settings, name)}")
        if field.description:
            print(f"    {field.description}")
    return ExitCode.OK
