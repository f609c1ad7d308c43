"""Changing the model while requests are served: the new model is loaded beside the old one and compared with it."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from concurrent import futures
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import CcmusicError, ModelRefused, ModelReplaced
from ccmusic.health.clock import CLOCK
from ccmusic.inference.result import TrackResult
from ccmusic.models.golden import SIGNALS, recording
from ccmusic.workers.channel import Job
from ccmusic.workers.job_queue import Ticket
from ccmusic.workers.pool import Pool

N_RECENT = 16
MAX_RECENT_BYTES = 4 * 2**20
"""Larger recordings are not kept for comparison."""
MIN_TO_JUDGE = 5
"""Agreement is not judged on fewer recent recordings than this."""
POLL_SECONDS = 0.05
ROUNDS = 3
"""If there are fewer recent recordings than `MIN_TO_JUDGE`, each is classified so often, for a steady median time."""


class RecentInputs:
    """The last accepted recordings, kept in memory for the comparison."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque(maxlen=N_RECENT)

    def add(self, job: Job) -> None:
        """Keep a recording, if it is small."""
        if isinstance(job.source, bytes) and len(job.source) <= MAX_RECENT_BYTES:
            self._jobs.append(job)

    def jobs(self) -> tuple[Job, ...]:
        """The kept recordings, oldest first."""
        return tuple(self._jobs)


@dataclass(frozen=True, slots=True)
class SwapReport:
    """The result of a change of the model.

    Attributes
    ----------
    compared : int
        Number of recent recordings that both models classified.
    agreement : float or None
        Share of them for which both named the same genre; None if there were too few to judge.
    slowdown : float
        The new model's time divided by the old one's, median over the recordings.
    seconds : float
        Time from the call to the switch.
    """

    previous: str
    model: str
    compared: int
    agreement: float | None
    slowdown: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The JSON answer of the admin call."""
        return {"status": "switched", **asdict(self)}


def wait_until_loaded(candidate: Pool, timeout_seconds: float) -> None:
    """Wait until every worker of the new model has verified it.

    Raises
    ------
    ModelError
        One of them could not load it, or not in time.
    """
    deadline = CLOCK.now() + timeout_seconds
    roster = candidate.roster
    while roster.n_ready < roster.settings.workers:
        if isinstance(roster.load_failure, ModelReplaced):
            raise ModelRefused("its files changed while its workers loaded them: try again when they are complete")
        if roster.load_failure is not None:
            raise roster.load_failure
        if CLOCK.now() > deadline:
            raise ModelRefused(f"it was not loaded within {timeout_seconds:g} seconds")
        roster.closing.wait(POLL_SECONDS)


def require_same_labels(current: Pool, candidate: Pool) -> None:
    """Refuse a model with other labels: the answers could not be compared, and clients expect the old labels.

    Raises
    ------
    ModelRefused
    """
    if current.roster.served is None or candidate.roster.served is None:
        return  # there is no model in use to compare with
    old, new = current.roster.served.taxonomies[0], candidate.roster.served.taxonomies[0]
    if set(old.labels) != set(new.labels):
        raise ModelRefused(
            f"it names {len(new.labels)} genres of the taxonomy {new.name!r}, and not the {len(old.labels)} of "
            f"{old.name!r} that the model in use names, so their answers cannot be compared; "
            "to serve it, start the service with CCMUSIC_MODEL"
        )


def compare(current: Pool, candidate: Pool, recent: Sequence[Job]) -> tuple[int, float | None, float]:
    """Classify the recent recordings with both models, in turn, and compare genres and times.

    Nothing is compared if no worker can load the old model any more: it answers nothing, and only a change helps.

    Returns
    -------
    compared : int
    agreement : float or None
    slowdown : float

    Raises
    ------
    ModelRefused
        The new model fails on a recording that the old one can classify.
    """
    if current.roster.model_status == "error":
        return 0, None, 1.0
    jobs = list(recent) or [Job(recording(name, 10.0), WindowPlan(), spectrogram=False) for name in SIGNALS]
    same = compared = 0
    ratios = []
    limit = current.settings.job_timeout_seconds
    for job in jobs:
        pairs = []
        for _ in range(ROUNDS if len(jobs) < MIN_TO_JUDGE else 1):
            old, new = _classify(current, job, limit), _classify(candidate, job, limit)
            if isinstance(old, CcmusicError):
                continue  # this does not count against the new model
            if isinstance(new, CcmusicError):
                raise ModelRefused(f"it fails on a recent recording that the old model can classify: {new}")
            pairs.append((old, new))
            ratios.append(_network_seconds(new) / _network_seconds(old))
        if pairs:
            compared += 1
            same += pairs[0][0].predictions()[0].genre == pairs[0][1].predictions()[0].genre
    judged = bool(recent) and compared >= MIN_TO_JUDGE
    return compared, same / compared if judged else None, statistics.median(ratios) if ratios else 1.0


def _network_seconds(result: TrackResult) -> float:
    return max(1e-6, result.timings["features"] + result.timings["inference"])


def _classify(pool: Pool, job: Job, limit_seconds: float) -> TrackResult | CcmusicError:
    future: Future[TrackResult] = Future()
    now = CLOCK.now()
    pool.queue.put(Ticket(job, future, now, now + limit_seconds))
    try:
        CLOCK.wait(lambda left: futures.wait([future], left).done, limit_seconds + 10.0)
        return future.result(0)
    except CcmusicError as error:
        return error
