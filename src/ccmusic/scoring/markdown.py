"""Tables in Markdown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, aligned: bool = False) -> str:
    """Write a table, a line feed at its end; aligned it can be read as it stands, in a terminal."""
    lines = [[str(cell).replace("|", "\\|") for cell in line] for line in (head, ["---"] * len(head), *rows)]
    if aligned:
        widths = [max(map(columns, column)) for column in zip(*lines, strict=True)]
        lines = [[c + " " * (width - columns(c)) for c, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def columns(text: str) -> int:
    """How many columns of a terminal a text takes; Chinese characters take two."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)
