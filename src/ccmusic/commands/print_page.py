"""The flag that prints docs/cli.md."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


class PrintPage(argparse.Action):
    """Print docs/cli.md and exit."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from ccmusic.commands.cli_page import cli_page

        print(cli_page(parser), end="")
        parser.exit()
