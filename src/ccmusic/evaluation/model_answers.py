"""Answers of models on labelled recordings, whole and cut shorter, from the same pipeline as the service's."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ccmusic.audio.decode import SAMPLE_RATE, DecodeLimits, decode
from ccmusic.inference.backend import Execution
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.card import Card
from ccmusic.models.store import ModelLocation
from ccmusic.parallel import ParallelMap

NEARLY = 0.95
"""A recording of at least this share of a length counts as that length: 29.9 s as 30 s."""

CROPS = 3
"""Cuts of each recording at each length, evenly spread."""


@dataclass(frozen=True, eq=False)
class ModelAnswer:
    """One model's answer on one recording.

    Attributes
    ----------
    probabilities : np.ndarray [shape=(labels,)]
        Of the whole recording.
    uncertain : bool
        Whether the answer has the flag ``uncertain``.
    by_seconds : dict of float to np.ndarray [shape=(cuts, labels)]
        Of its cuts, each classified as a recording; lengths above its own are absent.
    """

    probabilities: np.ndarray
    uncertain: bool
    by_seconds: dict[float, np.ndarray]


@dataclass(frozen=True)
class _Task:
    path: Path
    lengths: tuple[float, ...]


_pipelines: list[Pipeline] = []
_limits = DecodeLimits()


def load_card(location: ModelLocation, limits: DecodeLimits) -> Card:
    """Load a model once before the work begins, so that an error is reported once, and return its card.

    Raises
    ------
    ModelError
    """
    return Pipeline.load(location, limits).card


def classify_all(
    locations: Sequence[ModelLocation],
    paths: Sequence[Path],
    lengths: Sequence[float],
    *,
    jobs: int,
    limits: DecodeLimits,
    on_done: Callable[[], object] = lambda: None,
) -> tuple[list[tuple[ModelAnswer, ...] | None], dict[Path, str]]:
    """Classify recordings with one or several models.

    Parameters
    ----------
    locations : sequence of ModelLocation
        Each classifies every recording.
    paths : sequence of Path
    lengths : sequence of float
        Lengths in seconds of the cuts that are classified in addition to the whole recordings.
    jobs : int
        Processes; each loads the models.
    limits : DecodeLimits
    on_done : callable
        Called after each recording.

    Returns
    -------
    list of tuple of ModelAnswer, or None
        For each recording, the answer of each model; None where a recording cannot be used.
    dict of Path to str
        The reason for each of these.
    """
    parallel = ParallelMap(_classify_task, jobs, _prepare, (tuple(locations), limits))
    out: list[tuple[ModelAnswer, ...] | None] = [None] * len(paths)
    refused = {}
    for index, answer in parallel.run([_Task(path, tuple(lengths)) for path in paths]):
        if isinstance(answer, Exception):
            refused[paths[index]] = str(answer)
        else:
            out[index] = answer
        on_done()
    return out, {path: refused[path] for path in paths if path in refused}


def cuts(waveform: np.ndarray, seconds: float) -> list[np.ndarray]:
    """`CROPS` evenly spread cuts of a waveform; the whole waveform if it is hardly longer; none if it is shorter."""
    n = round(seconds * SAMPLE_RATE)
    if len(waveform) < NEARLY * n:
        return []
    if len(waveform) <= n / NEARLY:
        return [waveform]
    firsts = np.linspace(0, len(waveform) - n, CROPS).astype(int)
    return [waveform[first : first + n] for first in firsts]


def _prepare(locations: tuple[ModelLocation, ...], limits: DecodeLimits) -> None:
    global _limits  # noqa: PLW0603  # set once per process, before the first task
    _limits = limits
    _pipelines[:] = [Pipeline.load(location, limits, Execution(threads=1)) for location in locations]
    for pipeline in _pipelines:
        pipeline.quiet = True


def _classify_task(task: _Task) -> tuple[ModelAnswer, ...]:
    waveform = decode(task.path, _limits, quiet=True).waveform
    shorter = {seconds: [_as_wav(cut) for cut in cuts(waveform, seconds)] for seconds in task.lengths}
    return tuple(_answer(pipeline, task.path, shorter) for pipeline in _pipelines)


def _answer(pipeline: Pipeline, path: Path, shorter: dict[float, list[bytes]]) -> ModelAnswer:
    whole = pipeline.classify(path)
    return ModelAnswer(
        whole.leaves,
        "uncertain" in whole.flags,
        {
            seconds: np.stack([pipeline.classify(recording).leaves for recording in recordings])
            for seconds, recordings in shorter.items()
            if recordings
        },
    )


def _as_wav(waveform: np.ndarray) -> bytes:
    """A file that decodes to exactly this waveform."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    return buffer.getvalue()
