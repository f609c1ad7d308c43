"""``ccmusic`` that kills its whole process group at a moment of a batch: ``support.killed_batch MOMENT N ARGUMENTS``.

The moments: ``walk``, at the N-th file of the walk; ``commit``, before the N-th transaction with results ends;
``committed``, after it; ``analysis``, when N tracks have answers and the processes work on others.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ccmusic.batch import walk
from ccmusic.batch.catalogue import Catalogue
from ccmusic.batch.found_tracks import FoundTracks
from ccmusic.batch.progress import Progress
from ccmusic.cli import main


def _kill() -> None:
    os.killpg(0, signal.SIGKILL)


def _counted(function: Callable[..., object], n: int) -> Callable[..., object]:
    """The function, which kills the group instead of its N-th call."""
    count = 0

    def call(*arguments: object) -> object:
        nonlocal count
        count += 1
        if count == n:
            _kill()
        return function(*arguments)

    return call


def kill_at(moment: str, n: int) -> None:
    if moment == "walk":
        walk.look_at = _counted(walk.look_at, n)  # type: ignore[assignment]
    elif moment == "analysis":
        tick = Progress.tick

        def killing(progress: Progress) -> None:
            if progress.counts["ok"] >= n:
                _kill()
            tick(progress)

        Progress.tick = killing  # type: ignore[method-assign]
    else:
        transaction, finish, count = Catalogue.transaction, FoundTracks.finish, 0

        def finishing(tracks: FoundTracks, outcomes: object) -> None:
            nonlocal count
            count += 1
            finish(tracks, outcomes)  # type: ignore[arg-type]
            if count == n:
                _kill()

        @contextmanager
        def ending(catalogue: Catalogue) -> Iterator[None]:
            with transaction(catalogue):
                yield
                if count == n:
                    _kill()

        FoundTracks.finish = finishing  # type: ignore[method-assign, assignment]
        if moment == "commit":
            Catalogue.transaction = ending  # type: ignore[method-assign]


if __name__ == "__main__":
    kill_at(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
