"""A parser whose arguments are added when they are needed."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


class LazyParser(argparse.ArgumentParser):
    """An `ArgumentParser` that can wait for imports.

    ``ccmusic --help`` builds the parsers of all commands, and must be fast. A command whose arguments come from a slow
    import sets `add_later` instead of adding them.

    Attributes
    ----------
    add_later : callable or None
        Called once with this parser, before it parses or prints its arguments.
    """

    add_later: Callable[[argparse.ArgumentParser], object] | None = None

    def complete(self) -> None:
        """Add the arguments that were left for later."""
        add, self.add_later = self.add_later, None
        if add is not None:
            add(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, as `argparse.ArgumentParser` does."""
        self.complete()
        return super().parse_known_args(args, namespace)
