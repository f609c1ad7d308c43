"""What the commands print to stderr beside their results."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

from ccmusic.process.log_lines import one_line


def warn(text: str) -> None:
    """Print a message for the user to stderr, on one line."""
    with suppress(OSError):  # the exit code still tells the cause
        print(f"ccmusic: {one_line(text)}", file=sys.stderr, flush=True)


def stage_printer(*, quiet: bool) -> Callable[[str], object]:
    """Return a function that prints each stage of an import to stderr; with `quiet` it prints nothing."""
    return (lambda _: None) if quiet else lambda stage: print(f"... {stage}", file=sys.stderr, flush=True)
