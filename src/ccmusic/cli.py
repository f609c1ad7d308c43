"""The command line. Each command is a module of `ccmusic.commands`; this one puts them together.

It sets the first signal handlers, and imports nearly everything after that: until then, process 1 misses a SIGTERM.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ccmusic.process.signals import set_early_handlers

if TYPE_CHECKING:
    import argparse

COMMANDS = (
    "classify",
    "batch",
    "tag",
    "serve",
    "models",
    "explain",
    "train",
    "evaluate",
    "gate",
    "doctor",
    "wecom_bridge",
    "metrics",
    "settings",
)
"""In the order in which ``ccmusic --help`` lists them."""

SERVERS = ("serve", "wecom-bridge")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    if arguments is None:  # this process is the command, and not a program that calls this function
        set_early_handlers(serves=any(word in SERVERS for word in sys.argv[1:2]))
        from ccmusic.process.streams import open_standard_streams

        open_standard_streams()
    return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    import logging

    from ccmusic.commands.exit_codes import ExitCode
    from ccmusic.commands.messages import warn
    from ccmusic.errors import (
        CatalogueError,
        InsufficientStorage,
        InvalidParameter,
        InvalidSettings,
        ModelError,
        PackageMissing,
    )
    from ccmusic.process.log_lines import guard_log
    from ccmusic.process.start_limits import LimitTooLow

    options = build_parser().parse_args(arguments)
    guard_log()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        code: int = options.run(options)
    except InvalidSettings as error:
        warn(f"configuration: {error}")
        return ExitCode.SETTINGS
    except (InvalidParameter, LimitTooLow, PackageMissing, CatalogueError, InsufficientStorage) as error:
        warn(str(error))
        codes = {
            InvalidParameter: ExitCode.USAGE,
            LimitTooLow: ExitCode.REFUSED,
            PackageMissing: ExitCode.PACKAGE_MISSING,
        }
        return next((code for kind, code in codes.items() if isinstance(error, kind)), ExitCode.CATALOGUE)
    except ModelError as error:
        warn(f"model: {error.sentence}")
        return ExitCode.MODEL
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the program that reads our output has ended: `ccmusic classify ... | head`
        sys.stderr.close()
        return ExitCode.OK
    return code


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line with all commands."""
    from ccmusic.commands.lazy_parser import LazyParser
    from ccmusic.commands.print_page import PrintPage
    from ccmusic.version import __version__

    parser = LazyParser(
        prog="ccmusic",
        description="CCMusic names the genre of recordings.",
        epilog="docs/cli.md describes every command, and the exit codes.",
    )
    parser.add_argument("--version", action="version", version=f"ccmusic {__version__}")
    parser.add_argument("--help-markdown", action=PrintPage, help="print docs/cli.md and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"ccmusic.commands.{name}").add_command(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
