"""The analysis of one file, in a process of its own (`ccmusic.parallel`): the pipeline of ``ccmusic classify``."""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ccmusic.audio.budget import COSTS_TIME
from ccmusic.audio.kernel_bounds import BOUND_SIGNAL, DecodingBounds
from ccmusic.audio.limits import DecodeLimits
from ccmusic.audio.payload_hash import payload_hash
from ccmusic.audio.windows import WindowPlan
from ccmusic.batch.catalogue import Catalogue
from ccmusic.batch.outcome import GONE, Outcome, answered, failed, skipped
from ccmusic.errors import CcmusicError, TooCostly
from ccmusic.inference.backend import Execution
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.store import ModelLocation
from ccmusic.process.sandbox import confine


class Task(NamedTuple):
    """One file to analyse."""

    track_id: int
    path: bytes


@dataclass(frozen=True)
class AnalysisPlan:
    """What is requested of each recording, and the bounds of a process; pickle takes it to the processes.

    Attributes
    ----------
    windows : WindowPlan
    taxonomy : str
    level : int
    keep_windows : bool
        Whether the answers of the windows are kept.
    folder : Path
        Of the catalogue, which is read for answers to the same sound.
    fingerprint : int
        The row of ``fingerprints`` of the run.
    max_descriptors, max_file_bytes : int
    no_network : bool
        See `ccmusic.process.sandbox.confine`.
    """

    windows: WindowPlan
    taxonomy: str
    level: int
    keep_windows: bool
    folder: Path
    fingerprint: int
    max_descriptors: int
    max_file_bytes: int
    no_network: bool


@dataclass(frozen=True)
class _Prepared:
    pipeline: Pipeline
    plan: AnalysisPlan
    catalogue: Catalogue


_prepared: list[_Prepared] = []


def prepare(location: ModelLocation, limits: DecodeLimits, execution: Execution, plan: AnalysisPlan) -> None:
    """Load the model, once in each process, which is bounded then as a worker of the service is."""
    pipeline = Pipeline.load(location, limits, execution)
    pipeline.kernel = DecodingBounds(limits)
    pipeline.quiet = True
    _prepared[:] = [_Prepared(pipeline, plan, Catalogue.open(plan.folder, read_only=True))]
    confine(plan.max_descriptors, plan.max_file_bytes, no_network=plan.no_network)


def why_ended(exit_code: int | None) -> TooCostly | None:
    """The error of the file in whose decoding the kernel has ended the process; None for other ends."""
    return TooCostly(COSTS_TIME) if exit_code == -BOUND_SIGNAL else None


def analyse(task: Task) -> Outcome:
    """The outcome for one file, whatever happens to it."""
    began = time.perf_counter()
    file = Path(os.fsdecode(task.path))
    payload = None
    try:
        outcome = _unreadable(file)
        if outcome is None:
            payload = _payload(file)
            outcome = _taken_over(task, payload) or _classified(file)
    except Exception as error:
        outcome = failed(error)
    return replace(outcome, payload=payload, seconds=time.perf_counter() - began)


def _unreadable(file: Path) -> Outcome | None:
    """The outcome for a file that vanished, or that this user may not read; None for others."""
    try:
        os.close(os.open(file, os.O_RDONLY | os.O_NONBLOCK))  # a pipe by now would wait
    except FileNotFoundError:
        return skipped(GONE)
    except PermissionError as error:
        return skipped(f"cannot be read: {error.strerror}")
    except OSError:
        pass  # the pipeline says what it is
    return None


def _payload(file: Path) -> str | None:
    try:
        return payload_hash(file)
    except CcmusicError:  # the pipeline says what it is
        return None


def _taken_over(task: Task, payload: str | None) -> Outcome | None:
    """The outcome of a file whose sound has an answer already: moved, copied or retagged; None for others."""
    catalogue, fingerprint = _prepared[0].catalogue, _prepared[0].plan.fingerprint
    try:
        found = catalogue.connection.execute(_SAME_SOUND, (payload, fingerprint, task.track_id)).fetchone()
    except sqlite3.OperationalError:  # a busy database: the file is analysed
        return None
    return None if found is None else Outcome(status="ok", same_as=found[0])


_SAME_SOUND = (
    # other waiting tracks have changed, and their answers are about to be replaced
    "SELECT id FROM tracks WHERE payload = ? AND fingerprint = ? AND answer IS NOT NULL "
    "AND (status IN ('ok', 'skipped') OR id = ?) ORDER BY same_as IS NOT NULL, id LIMIT 1"
)


def _classified(file: Path) -> Outcome:
    pipeline, plan = _prepared[0].pipeline, _prepared[0].plan
    result = pipeline.classify(file, plan.windows, embedding=True)
    n_labels = len(result.under(plan.taxonomy).taxonomy.labels)
    answer = result.as_json(taxonomy=plan.taxonomy, level=plan.level, top_k=n_labels)
    embedding = None if result.embedding is None else result.embedding.astype("<f2").tobytes()
    return answered(answer, keep_windows=plan.keep_windows, embedding=embedding)
