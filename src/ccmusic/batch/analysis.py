"""The analysis of one file, in a process of its own (`ccmusic.parallel`): the pipeline of ``ccmusic classify``."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ccmusic.audio.limits import DecodeLimits
from ccmusic.audio.windows import WindowPlan
from ccmusic.batch.outcome import GONE, Outcome, answered, failed, skipped
from ccmusic.inference.backend import Execution
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.store import ModelLocation


@dataclass(frozen=True)
class AnalysisPlan:
    """What is requested of each recording; pickle takes it to the processes.

    Attributes
    ----------
    windows : WindowPlan
    taxonomy : str
    level : int
    keep_windows : bool
        Whether the answers of the windows are kept.
    """

    windows: WindowPlan
    taxonomy: str
    level: int
    keep_windows: bool = False


@dataclass(frozen=True)
class _Prepared:
    pipeline: Pipeline
    plan: AnalysisPlan


_prepared: list[_Prepared] = []


def prepare(location: ModelLocation, limits: DecodeLimits, execution: Execution, plan: AnalysisPlan) -> None:
    """Load the model, once in each process."""
    pipeline = Pipeline.load(location, limits, execution)
    pipeline.quiet = True
    _prepared[:] = [_Prepared(pipeline, plan)]


def analyse(path: bytes) -> Outcome:
    """The outcome for one file, whatever happens to it."""
    began = time.perf_counter()
    file = Path(os.fsdecode(path))
    try:
        outcome = _unreadable(file) or _classified(file)
    except Exception as error:
        outcome = failed(error)
    return replace(outcome, seconds=time.perf_counter() - began)


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


def _classified(file: Path) -> Outcome:
    pipeline, plan = _prepared[0].pipeline, _prepared[0].plan
    result = pipeline.classify(file, plan.windows)
    n_labels = len(result.under(plan.taxonomy).taxonomy.labels)
    answer = result.as_json(taxonomy=plan.taxonomy, level=plan.level, top_k=n_labels)
    return answered(answer, keep_windows=plan.keep_windows)
