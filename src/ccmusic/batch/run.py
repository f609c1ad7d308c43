"""One run: analyse the waiting tracks in processes of their own, and commit each result with its row.

The order of a run is: walk, then analyse. The walk writes the rows of all files first, so that the number of tracks is
known, and a run that was killed while it walked has nothing to repeat but the walk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from ccmusic.batch.analysis import Task, analyse, why_ended
from ccmusic.batch.found_tracks import FoundTracks
from ccmusic.batch.outcome import Outcome, failed
from ccmusic.batch.progress import Progress
from ccmusic.errors import InferenceTimeout
from ccmusic.parallel import ParallelMap

TRACKS_PER_PROCESS = 1000
"""A process is replaced after so many, which takes two seconds: decoders may keep memory for ever."""


def analyse_waiting(
    found: FoundTracks,
    progress: Progress,
    *,
    jobs: int,
    prepare: Callable[..., object],
    prepared_with: tuple[Any, ...],
    seconds_per_track: float,
    check: Callable[[], object],
) -> None:
    """Analyse the found tracks that wait.

    Parameters
    ----------
    found : FoundTracks
    progress : Progress
        Hears of results after they are on the disk.
    jobs : int
        Number of processes.
    prepare, prepared_with
        As for `ParallelMap`.
    seconds_per_track : float
        A track that takes longer fails, and its process is replaced.
    check : callable
        Is called at least every half a second; what it raises ends the run.
    """
    in_work: dict[int, int] = {}

    def tasks() -> Iterator[Task]:
        for index, (track_id, path) in enumerate(found.waiting()):
            in_work[index] = track_id
            yield Task(track_id, path)

    def on_wait() -> None:
        check()
        progress.tick()

    parallel = ParallelMap(
        analyse,
        jobs,
        prepare,
        prepared_with,
        seconds_per_track,
        items_per_process=TRACKS_PER_PROCESS,
        why_ended=why_ended,
        on_wait=on_wait,
    )
    with closing(parallel.run_in_groups(tasks())) as groups:
        for answers in groups:
            outcomes = [(in_work.pop(index), _outcome(answer)) for index, answer in answers]
            found.finish(outcomes)
            progress.note([outcome.status for _, outcome in outcomes])
            on_wait()


def _outcome(answer: Outcome | Exception) -> Outcome:
    if isinstance(answer, InferenceTimeout):
        answer = InferenceTimeout(f"{answer} A longer time is allowed with CCMUSIC_JOB_TIMEOUT_SECONDS.")
    return failed(answer) if isinstance(answer, Exception) else answer
