"""Spectrograms of recordings, made as the service makes them, and cached by the hash of the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ccmusic.audio.decode import DecodeLimits, decode
from ccmusic.errors import InvalidParameter
from ccmusic.features.crops import TOP_DB
from ccmusic.inference.front_end import FrontEnd
from ccmusic.inference.non_music import SoundTraits, measure_if_long_enough
from ccmusic.models.card import Card
from ccmusic.models.store import file_sha256
from ccmusic.parallel import ParallelMap

FORMAT = "cqt-1"
"""Part of every file name; increase it when the transform or the file format changes."""


@dataclass(frozen=True)
class Spectrogram:
    """A cached spectrogram: bytes, dB = value / 2 - 80, relative to the recording's maximum.

    Attributes
    ----------
    file : Path
    n_frames : int
    duration_seconds : float
        Of the recording.
    digest : str
        SHA-256 of the recording.
    traits : SoundTraits or None
        What distinguishes music from other sounds; None where the recording is too short.
    """

    file: Path
    n_frames: int
    duration_seconds: float
    digest: str
    traits: SoundTraits | None = None

    def read(self, first: int = 0, last: int | None = None) -> np.ndarray:
        """Decibels of a range of frames, [shape=(84, frames), dtype=float32], -80 to 0."""
        # mapped for this read only: thousands of open maps would exceed the limit of open files
        kept = np.load(self.file, mmap_mode="r")
        return np.asarray(kept[:, first:last], dtype=np.float32) / 2 - np.float32(TOP_DB)


@dataclass(frozen=True)
class _Task:
    path: Path
    directory: Path
    card: Card
    limits: DecodeLimits


def cached_spectrograms(
    paths: Sequence[Path],
    directory: Path,
    card: Card,
    *,
    jobs: int,
    limits: DecodeLimits,
    on_done: Callable[[], object] = lambda: None,
) -> tuple[list[Spectrogram | None], dict[Path, str]]:
    """The spectrograms of recordings, from the cache or computed.

    Parameters
    ----------
    paths : sequence of Path
    directory : Path
        The cache.
    card : Card
        Of the model that will analyse them.
    jobs : int
        Processes.
    limits : DecodeLimits
    on_done : callable
        Called after each recording.

    Returns
    -------
    list of Spectrogram or None
        None where a recording cannot be used.
    dict of Path to str
        The reason for each of these.
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
    except (OSError, ValueError):  # missing or incomplete
        recording = decode(task.path, task.limits, quiet=True)
        spectrogram_db = FrontEnd(task.card).spectrogram_db(recording.waveform)
        n_frames, seconds = spectrogram_db.shape[1], recording.duration_seconds
        values = np.rint((np.clip(spectrogram_db, -TOP_DB, 0) + TOP_DB) * 2).astype(np.uint8)
        # the length is written first, so that a spectrogram in the cache always has one
        _write_atomically(task.directory / f"{file.name}.seconds", repr(seconds).encode("ascii"))
        partial = file.with_name(f"{file.name}.{os.getpid()}.part.npy")
        np.save(partial, values)
        partial.replace(file)
    kept = Spectrogram(file, n_frames, seconds, digest)
    return replace(kept, traits=measure_if_long_enough(kept.read()))


def _write_atomically(file: Path, content: bytes) -> None:
    partial = file.with_name(f"{file.name}.{os.getpid()}.part")
    partial.write_bytes(content)
    partial.replace(file)


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise InvalidParameter("path", f"cannot be read: {error.strerror}") from error
