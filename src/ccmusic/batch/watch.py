"""Keep looking at folders, and name the recordings that arrive, once they are whole.

The system reports changes (watchfiles). It reports none of a network share that another machine writes, and loses some
when very many come at once, so the folders are also walked again from time to time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ccmusic.audio.folder import is_recording, recordings_in
from ccmusic.batch.outcome import GONE
from ccmusic.batch.walk import FoundFile, look_at
from ccmusic.errors import of_extra

STILL_SECONDS = 5.0
"""A file is taken when its size and the time of its change have been the same for so long: it is no longer written."""
WALK_SECONDS = 3600.0
"""Time between two walks. The first begins at once: something may have come between the last walk and the watch."""
LOOK_SECONDS = 0.5
"""Time between two looks at what has arrived."""


def arrivals(
    folders: Sequence[Path],
    is_known: Callable[[FoundFile], bool],
    check: Callable[[], object],
    *,
    still_seconds: float = STILL_SECONDS,
    walk_seconds: float = WALK_SECONDS,
) -> Iterator[list[FoundFile]]:
    """Yield lists of files that have come, changed or vanished.

    Parameters
    ----------
    folders : sequence of Path
    is_known : callable
        Whether the catalogue has a file just as it is; of a file that does not exist: whether nothing is known of it.
    check : callable
        Is called at each look; what it raises ends the watch.
    still_seconds, walk_seconds : float
        See `STILL_SECONDS` and `WALK_SECONDS`.

    Raises
    ------
    PackageMissing
        The package watchfiles is missing.
    """
    seen: dict[bytes, tuple[FoundFile, float]] = {}
    next_walk = time.monotonic()
    for changed in _changes(folders):
        check()
        now = time.monotonic()
        if now >= next_walk:
            next_walk = now + walk_seconds
            for path in _new(folders, is_known):
                seen.setdefault(path, (look_at(path), now))
        for path in changed:
            seen.setdefault(path, (look_at(path), now))
        whole = []
        for path, (before, since) in list(seen.items()):
            file = look_at(path)
            if file != before:
                seen[path] = file, now
            elif now - since >= still_seconds:
                del seen[path]
                if not is_known(file):
                    whole.append(file if os.path.lexists(path) else FoundFile(path, skipped=GONE))
        if whole:
            yield whole


def _changes(folders: Sequence[Path]) -> Iterator[list[bytes]]:
    with of_extra("batch", "--watch needs the package watchfiles"):
        from watchfiles import watch  # imported late: a dependency of the extra batch only
    milliseconds = round(1000 * LOOK_SECONDS)
    options: dict[str, Any] = {"watch_filter": None, "yield_on_timeout": True, "ignore_permission_denied": True}
    for changes in watch(*folders, rust_timeout=milliseconds, debounce=milliseconds, **options):
        paths = {os.fsencode(path) for _, path in changes}
        yield [found for path in paths for found in _recordings_at(path, folders)]


def _recordings_at(path: bytes, folders: Iterable[Path]) -> Iterator[bytes]:
    """A recording itself, or those in a folder that was moved here; nothing of what is hidden below the folders."""
    whole = Path(os.fsdecode(path))
    below = next((whole.relative_to(folder) for folder in folders if whole.is_relative_to(folder)), whole)
    if any(part.startswith(".") for part in below.parts):
        return
    if whole.is_dir() and not whole.is_symlink():
        yield from (found for found in recordings_in(path) if isinstance(found, bytes))
    elif is_recording(os.fsencode(whole.name)):
        yield path


def _new(folders: Iterable[Path], is_known: Callable[[FoundFile], bool]) -> Iterator[bytes]:
    for folder in folders:
        for found in recordings_in(os.fsencode(folder)):
            if isinstance(found, bytes) and not is_known(look_at(found)):
                yield found
