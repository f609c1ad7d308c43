"""The example recordings of the page."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from ccmusic.audio.examples import EXAMPLE_DIRECTORIES
from ccmusic.ui.texts import TEXTS, Language


@dataclass(frozen=True, slots=True)
class Example:
    """An example recording of the page."""

    path: Path
    titles: dict[Language, str]


def read_examples(directories: tuple[Path, ...] = EXAMPLE_DIRECTORIES) -> tuple[Example, ...]:
    """Read ``examples.json`` from the first directory that has one. Without one, there are no examples.

    Each entry has a ``file``, a ``title_en`` and a ``title_zh``.
    """
    index = next((d / "examples.json" for d in directories if (d / "examples.json").is_file()), None)
    if index is None:
        return ()
    entries = json.loads(index.read_text(encoding="utf-8"))
    return tuple(
        Example(path, {language: entry[f"title_{language}"] for language in TEXTS})
        for entry in entries
        if (path := index.parent / entry["file"]).is_file()
    )


def copied(examples: tuple[Example, ...], directory: Path) -> tuple[Example, ...]:
    """Copies of the examples in a directory, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    return tuple(Example(Path(shutil.copy(e.path, directory)), e.titles) for e in examples)
