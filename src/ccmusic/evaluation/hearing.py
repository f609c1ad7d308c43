"""What models answer on labelled recordings, whole and cut shorter, by the road that the service walks."""

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
"""Recordings of at least this share of a length stand for that length: 29.9 s are 30 s."""

CROPS = 3
"""Cuts of each recording at each length, evenly spread."""


@dataclass(frozen=True, eq=False)
class Heard:
    """One model's answer on one recording.

    Attributes
    ----------
    probabilities : np.ndarray [shape=(labels,)]
        Of the whole recording.
    uncertain : bool
        Whether the answer carries the flag.
    by_seconds : dict of float to np.ndarray [shape=(cuts, labels)]
        Of cuts of it, as recordings of their own; lengths beyond its own are absent.
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


def prove(location: ModelLocation, limits: DecodeLimits) -> Card:
    """Load a model once here, so that what is wrong with it is said once, and return the card that runs.

    Raises
    ------
    ModelError
    """
    return Pipeline.load(location, limits).card


def hear(
    locations: Sequence[ModelLocation],
    paths: Sequence[Path],
    lengths: Sequence[float],
    *,
    jobs: int,
    limits: DecodeLimits,
    on_done: Callable[[], object] = lambda: None,
) -> tuple[list[tuple[Heard, ...] | None], dict[Path, str]]:
    """Ask models about recordings.

    Parameters
    ----------
    locations : sequence of ModelLocation
        All are asked about the same sound.
    paths : sequence of Path
    lengths : sequence of float
        Lengths, in seconds, of the cuts that are asked about beside the whole recordings.
    jobs : int
        Processes; each loads the models.
    limits : DecodeLimits
    on_done : callable
        Called after each recording.

    Returns
    -------
    list of tuple of Heard, or None
        For each recording an answer by each model; None where the recording cannot be used.
    dict of Path to str
        Why these cannot.
    """
    parallel = ParallelMap(_ask, jobs, _prepare, (tuple(locations), limits))
    out: list[tuple[Heard, ...] | None] = [None] * len(paths)
    refused = {}
    for index, answer in parallel.run([_Task(path, tuple(lengths)) for path in paths]):
        if isinstance(answer, Exception):
            refused[paths[index]] = str(answer)
        else:
            out[index] = answer
        on_done()
    return out, {path: refused[path] for path in paths if path in refused}


def cuts(waveform: np.ndarray, seconds: float) -> list[np.ndarray]:
    """`CROPS` evenly spread stretches of a waveform; the whole of it where it is hardly longer; none if shorter."""
    n = round(seconds * SAMPLE_RATE)
    if len(waveform) < NEARLY * n:
        return []
    if len(waveform) <= n / NEARLY:
        return [waveform]
    firsts = np.linspace(0, len(waveform) - n, CROPS).astype(int)
    return [waveform[first : first + n] for first in firsts]


def _prepare(locations: tuple[ModelLocation, ...], limits: DecodeLimits) -> None:
    global _limits  # noqa: PLW0603  # set once in each process, before anything is asked
    _limits = limits
    _pipelines[:] = [Pipeline.load(location, limits, Execution(threads=1)) for location in locations]


def _ask(task: _Task) -> tuple[Heard, ...]:
    waveform = decode(task.path, _limits).waveform
    shorter = {seconds: [_recording(cut) for cut in cuts(waveform, seconds)] for seconds in task.lengths}
    return tuple(_heard(pipeline, task.path, shorter) for pipeline in _pipelines)


def _heard(pipeline: Pipeline, path: Path, shorter: dict[float, list[bytes]]) -> Heard:
    whole = pipeline.classify(path)
    return Heard(
        whole.leaves,
        "uncertain" in whole.flags,
        {
            seconds: np.stack([pipeline.classify(recording).leaves for recording in recordings])
            for seconds, recordings in shorter.items()
            if recordings
        },
    )


def _recording(waveform: np.ndarray) -> bytes:
    """A file that decodes to exactly this waveform."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    return buffer.getvalue()
