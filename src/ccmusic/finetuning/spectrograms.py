"""Recordings to spectrograms by the service's own road, kept by what the files hold, so that it is done once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ccmusic.audio.decode import DecodeLimits, decode
from ccmusic.errors import InvalidParameter
from ccmusic.features.crops import TOP_DB
from ccmusic.inference.front_end import FrontEnd
from ccmusic.inference.non_music import Traits, judged
from ccmusic.models.card import Card
from ccmusic.parallel import ParallelMap

FORMAT = "cqt-1"
"""Part of every name, to be counted up when the transform or the way of keeping it changes."""


@dataclass(frozen=True)
class Spectrogram:
    """A kept spectrogram: bytes, dB = value / 2 - 80, relative to the recording's maximum.

    Attributes
    ----------
    file : Path
    n_frames : int
    duration_seconds : float
        Of the recording.
    digest : str
        SHA-256 of the recording.
    traits : Traits or None
        What tells music from other sounds; None where it is too short for that.
    """

    file: Path
    n_frames: int
    duration_seconds: float
    digest: str
    traits: Traits | None = None

    def read(self, first: int = 0, last: int | None = None) -> np.ndarray:
        """Decibels of some frames, [shape=(84, frames), dtype=float32], -80 to 0."""
        # mapped for this read alone: thousands of open maps are more files than a process may have
        kept = np.load(self.file, mmap_mode="r")
        return np.asarray(kept[:, first:last], dtype=np.float32) / 2 - np.float32(TOP_DB)


@dataclass(frozen=True)
class _Task:
    path: Path
    directory: Path
    card: Card
    limits: DecodeLimits


def spectrograms(
    paths: Sequence[Path],
    directory: Path,
    card: Card,
    *,
    jobs: int,
    limits: DecodeLimits,
    on_done: Callable[[], object] = lambda: None,
) -> tuple[list[Spectrogram | None], dict[Path, str]]:
    """Make, or find, the spectrograms of recordings.

    Parameters
    ----------
    paths : sequence of Path
    directory : Path
        Where they are kept.
    card : Card
        Of the model that is to hear them.
    jobs : int
        Processes.
    limits : DecodeLimits
    on_done : callable
        Called after each recording.

    Returns
    -------
    list of Spectrogram or None
        None where the recording cannot be used.
    dict of Path to str
        Why these cannot.
    """
    directory.mkdir(parents=True, exist_ok=True)
    out: list[Spectrogram | None] = [None] * len(paths)
    refused = {}
    tasks = [_Task(path, directory, card, limits) for path in paths]
    for index, answer in ParallelMap(_make, jobs).run(tasks):
        if isinstance(answer, Exception):
            refused[paths[index]] = str(answer)
        else:
            out[index] = answer
        on_done()
    return out, {path: refused[path] for path in paths if path in refused}


def _make(task: _Task) -> Spectrogram:
    digest = _sha256(task.path)
    file = task.directory / f"{digest[:32]}.{FORMAT}.npy"
    try:
        n_frames = np.load(file, mmap_mode="r").shape[1]
        seconds = float((task.directory / f"{file.name}.seconds").read_text(encoding="ascii"))
    except (OSError, ValueError):  # not there, or not whole
        heard = decode(task.path, task.limits)
        spectrogram_db = FrontEnd(task.card).spectrogram_db(heard.waveform)
        n_frames, seconds = spectrogram_db.shape[1], heard.duration_seconds
        values = np.rint((np.clip(spectrogram_db, -TOP_DB, 0) + TOP_DB) * 2).astype(np.uint8)
        # whoever finds the spectrogram finds its length: it is written first, and each in one step
        _in_one_step(task.directory / f"{file.name}.seconds", repr(seconds).encode("ascii"))
        partial = file.with_name(f"{file.name}.{os.getpid()}.part.npy")
        np.save(partial, values)
        partial.replace(file)
    kept = Spectrogram(file, n_frames, seconds, digest)
    return replace(kept, traits=judged(kept.read()))


def _in_one_step(file: Path, content: bytes) -> None:
    partial = file.with_name(f"{file.name}.{os.getpid()}.part")
    partial.write_bytes(content)
    partial.replace(file)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidParameter("path", f"cannot be read: {error.strerror}") from error
