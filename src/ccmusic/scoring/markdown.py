"""Tables in Markdown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, aligned: bool = False) -> str:
    """Write a table that ends in a line feed; `aligned` pads the cells, so that a terminal shows straight columns."""
    lines = [[str(cell).replace("|", "\\|") for cell in line] for line in (head, ["---"] * len(head), *rows)]
    if aligned:
        widths = [max(map(columns, column)) for column in zip(*lines, strict=True)]
        lines = [[c + " " * (width - columns(c)) for c, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def columns(text: str) -> int:
    """Width of a text in columns of a terminal; a Chinese character takes two."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)
