"""The files that the arguments of ``ccmusic classify`` name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ccmusic.audio.formats import AUDIO_SUFFIXES
from ccmusic.errors import CcmusicError, InvalidParameter


def find_recordings(paths: Sequence[Path]) -> list[tuple[Path, CcmusicError | None]]:
    """Replace each folder by the recordings in it and in its subfolders.

    A recording is a file with a known suffix. Hidden files and folders are skipped. A path that is not a folder stays,
    whatever its suffix.

    Returns
    -------
    list of (Path, error)
        In the order of `paths`, and sorted within a folder. The error says why a folder gives no recordings; it is None
        for a recording.
    """
    return [found for path in paths for found in (_in_folder(path) if path.is_dir() else [(path, None)])]


def _in_folder(folder: Path) -> list[tuple[Path, CcmusicError | None]]:
    unreadable: list[tuple[Path, CcmusicError | None]] = []

    def note(error: OSError) -> None:
        reason = InvalidParameter("folder", f"cannot be read: {error.strerror}")
        unreadable.append((Path(error.filename), reason))

    found: list[tuple[Path, CcmusicError | None]] = [(path, None) for path in sorted(_walk(folder, note))]
    if not found and not unreadable:
        return [(folder, InvalidParameter("folder", "has no recordings"))]
    return found + unreadable


def _walk(folder: Path, on_error: Callable[[OSError], object]) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=on_error):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES:
                yield Path(parent, name)
