"""The command line. Each command is a module of `ccmusic.commands`; this one puts them together."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import Any

from ccmusic.commands import (
    classify,
    doctor,
    evaluate,
    explain,
    gate,
    metrics,
    models,
    serve,
    settings,
    train,
    wecom_bridge,
)
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.commands.lazy_parser import LazyParser
from ccmusic.commands.messages import warn
from ccmusic.errors import InvalidParameter, InvalidSettings, ModelError
from ccmusic.version import __version__

COMMANDS = (classify, serve, models, explain, train, evaluate, gate, doctor, wecom_bridge, metrics, settings)
"""In the order in which ``ccmusic --help`` lists them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        code: int = options.run(options)
    except InvalidSettings as error:
        warn(f"configuration: {error}")
        return ExitCode.SETTINGS
    except InvalidParameter as error:
        warn(str(error))
        return ExitCode.USAGE
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
    parser = LazyParser(
        prog="ccmusic",
        description="CCMusic names the genre of recordings.",
        epilog="docs/cli.md describes every command, and the exit codes.",
    )
    parser.add_argument("--version", action="version", version=f"ccmusic {__version__}")
    parser.add_argument("--help-markdown", action=_PrintPage, help="print docs/cli.md and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_command(commands)
    return parser


class _PrintPage(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from ccmusic.commands.cli_page import cli_page

        print(cli_page(parser), end="")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
