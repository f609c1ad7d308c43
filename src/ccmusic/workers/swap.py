"""Changing the model while requests flow: the new one is loaded beside the old one and has to earn its place."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import CcmusicError, ModelRefused
from ccmusic.inference.result import TrackResult
from ccmusic.models.golden import SIGNALS, recording
from ccmusic.workers.channel import Job
from ccmusic.workers.job_queue import Ticket
from ccmusic.workers.pool import Pool

N_RECENT = 16
MAX_RECENT_BYTES = 4 * 2**20
"""Larger recordings are not kept for comparison."""
MIN_TO_JUDGE = 5
"""Fewer recent inputs than this say nothing about agreement."""
POLL_SECONDS = 0.05
ROUNDS = 3


class RecentInputs:
    """The last recordings that were answered, kept in memory for the comparison."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque(maxlen=N_RECENT)

    def add(self, job: Job) -> None:
        """Remember a recording, if it is small."""
        if isinstance(job.source, bytes) and len(job.source) <= MAX_RECENT_BYTES:
            self._jobs.append(job)

    def jobs(self) -> tuple[Job, ...]:
        """Oldest first."""
        return tuple(self._jobs)


@dataclass(frozen=True, slots=True)
class SwapReport:
    """What came of a change of the model.

    Attributes
    ----------
    compared : int
        Recent recordings that both models were asked.
    agreement : float or None
        Share of them for which both named the same genre; None when there were too few to judge.
    slowdown : float
        The new model's time over the old one's, median over the recordings.
    seconds : float
        From the call to the switch.
    """

    previous: str
    model: str
    compared: int
    agreement: float | None
    slowdown: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """For the answer of the call."""
        return {"status": "switched", **asdict(self)}


def wait_until_loaded(candidate: Pool, timeout_seconds: float) -> None:
    """Wait until every worker of the new model has proved it.

    Raises
    ------
    ModelError
        One of them could not load it, or not in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while candidate.n_ready < candidate.settings.workers:
        if candidate.load_failure is not None:
            raise candidate.load_failure
        if time.monotonic() > deadline:
            raise ModelRefused(f"it was not loaded within {timeout_seconds:g} seconds")
        candidate.closing.wait(POLL_SECONDS)


def require_same_labels(current: Pool, candidate: Pool) -> None:
    """Refuse a model that names other genres: neither agreement nor what clients know of the answers would hold.

    Raises
    ------
    ModelRefused
    """
    if not current.taxonomies:
        return  # nothing has been proved yet that could be told from
    old, new = current.taxonomies[0], candidate.taxonomies[0]
    if set(old.labels) != set(new.labels):
        raise ModelRefused(
            f"it names {len(new.labels)} genres of the taxonomy {new.name!r}, and not the {len(old.labels)} of "
            f"{old.name!r} that the model in use names, so that their answers cannot be compared: "
            "start the service with CCMUSIC_MODEL to serve it"
        )


def compare(
    current: Pool, candidate: Pool, recent: Sequence[Job], on_asked: Callable[[], None] = lambda: None
) -> tuple[int, float | None, float]:
    """Ask both models the recent recordings, in turn, and compare genres and times.

    Returns
    -------
    compared : int
    agreement : float or None
    slowdown : float

    Raises
    ------
    ModelRefused
        The new model fails on a recording that the old one answers.
    """
    jobs = list(recent) or [Job(recording(name, 10.0), WindowPlan(), spectrogram=False) for name in SIGNALS]
    same = compared = 0
    ratios = []
    limit = current.settings.job_timeout_seconds
    for job in jobs:
        pairs = []
        for _ in range(ROUNDS if len(jobs) < MIN_TO_JUDGE else 1):
            old, new = _ask(current, job, limit), _ask(candidate, job, limit)
            on_asked()
            if isinstance(old, CcmusicError):
                continue  # it says nothing about the new one
            if isinstance(new, CcmusicError):
                raise ModelRefused(f"it fails on a recent recording that the old model answers: {new}")
            pairs.append((old, new))
            ratios.append(_network_seconds(new) / _network_seconds(old))
        if pairs:
            compared += 1
            same += pairs[0][0].predictions()[0].genre == pairs[0][1].predictions()[0].genre
    judged = bool(recent) and compared >= MIN_TO_JUDGE
    return compared, same / compared if judged else None, statistics.median(ratios) if ratios else 1.0


def _network_seconds(result: TrackResult) -> float:
    return max(1e-6, result.timings["features"] + result.timings["inference"])


def _ask(pool: Pool, job: Job, limit_seconds: float) -> TrackResult | CcmusicError:
    future: Future[TrackResult] = Future()
    now = time.monotonic()
    pool.queue.put(Ticket(job, future, now, now + limit_seconds))
    try:
        return future.result(limit_seconds + 10.0)
    except CcmusicError as error:
        return error
