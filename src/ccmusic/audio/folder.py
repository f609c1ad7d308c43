"""The recordings in a folder: which files count as recordings, and the walk that finds them.

Names are bytes, because a name need not be UTF-8.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ccmusic.audio.formats import AUDIO_SUFFIXES

_SUFFIXES = frozenset(suffix.encode() for suffix in AUDIO_SUFFIXES)


def is_recording(name: bytes) -> bool:
    """Whether a file in a folder counts as a recording: a known suffix, and not hidden."""
    return not name.startswith(b".") and os.path.splitext(name)[1].lower() in _SUFFIXES


def recordings_in(top: bytes) -> Iterator[bytes | OSError]:
    """Yield the path of each recording in a folder and its subfolders, in no order, or why a folder cannot be read."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        subfolders = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(b"."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        subfolders.append(entry.path)
                    elif is_recording(entry.name) and not _links_to_a_folder(entry):
                        yield entry.path
        except OSError as error:
            error.filename = folder
            yield error
        waiting += sorted(subfolders, reverse=True)


def _links_to_a_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # a link to itself: looking at it says so
        return False
