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
    default_action : str or None
        Of a command with actions: the action of arguments that begin with none.
    """

    add_later: Callable[[argparse.ArgumentParser], object] | None = None
    default_action: str | None = None

    def complete(self) -> None:
        """Add the arguments that were left for later."""
        add, self.add_later = self.add_later, None
        if add is not None:
            add(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, as `argparse.ArgumentParser` does."""
        self.complete()
        if self.default_action is not None and args and args[0] not in (*self._actions_by_name(), "-h", "--help"):
            args = [self.default_action, *args]
        return super().parse_known_args(args, namespace)

    def _actions_by_name(self) -> tuple[str, ...]:
        inner = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        return tuple(name for action in inner for name in action.choices)
