"""The research clips: spectrograms, weak labels, artist-disjoint folds and the outputs of the teachers.

A data directory holds ``clips.csv`` (one row per clip), ``cqt_<source>.npz`` (uint8 spectrograms, dB = value / 2 - 80)
and ``teachers.npz``. It holds no audio, and no part of it is in the package.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccmusic.features.crops import TOP_DB
from ccmusic.genres import LABELS, LEAVES

TEACHER_SECONDS = {
    "audioset_logits": 5.0,
    "audioset_embedding": 5.0,
    "lastfm_tags": 3.0,
    "lastfm_embedding": 3.0,
    "jamendo_tags": 3.0,
    "jamendo_tags_clip": 30.0,
}
"""Length of the windows of each teacher; they follow one another from the start of the clip."""


@dataclass(frozen=True)
class Teacher:
    """One output of a public network for every clip.

    Attributes
    ----------
    windows : np.ndarray [shape=(clips, most windows, size), dtype=float32]
        Unbounded (tag probabilities are stored as logits); rows after the last window of a clip are zero.
    counts : np.ndarray [shape=(clips,)]
        Number of windows of each clip, at least 1.
    seconds : float
        Length of a window.
    """

    windows: np.ndarray
    counts: np.ndarray
    seconds: float

    def mean(self) -> np.ndarray:
        """Mean over each clip's windows, [shape=(clips, size)]."""
        return np.asarray(self.windows.sum(axis=1) / self.counts[:, None])

    def over(self, clips: np.ndarray, start: np.ndarray, seconds: float) -> np.ndarray:
        """Output averaged over one crop per clip, each window weighted by its overlap with the crop.

        Parameters
        ----------
        clips : np.ndarray [shape=(batch,)]
            Rows of the clips.
        start : np.ndarray [shape=(batch,)]
            Where each crop starts, in seconds.
        seconds : float
            Length of the crops.

        Returns
        -------
        np.ndarray [shape=(batch, size), dtype=float32]
        """
        left = np.arange(self.windows.shape[1]) * self.seconds
        overlap = np.minimum(left + self.seconds, start[:, None] + seconds) - np.maximum(left, start[:, None])
        overlap = np.where(np.arange(self.windows.shape[1]) < self.counts[clips, None], np.maximum(overlap, 0), 0)
        # a crop after the last whole window takes that window
        missed = overlap.sum(axis=1) == 0
        overlap[missed, self.counts[clips][missed] - 1] = 1
        overlap /= overlap.sum(axis=1, keepdims=True)
        return np.asarray(np.einsum("bw,bwd->bd", overlap, self.windows[clips]), dtype=np.float32)


@dataclass(frozen=True)
class Dataset:
    """All clips in the order of ``clips.csv``; each array has one row per clip.

    Attributes
    ----------
    ids, source, artist, basis : np.ndarray [shape=(clips,), dtype=str]
    label : np.ndarray [shape=(clips,), dtype=int]
        Index in `LABELS`, -1 where unknown.
    allowed : np.ndarray [shape=(clips, 16), dtype=bool]
        Leaves (of the 16 genres) that agree with what is known of the clip: one for a labelled clip; a group if only
        level 9 or level 2 is known; all if nothing is.
    fold : np.ndarray [shape=(clips,), dtype=int]
        0 to 4, artist-disjoint.
    spectrograms : np.ndarray [shape=(clips, 84, most frames), dtype=uint8]
        dB = value / 2 - 80, relative to the maximum of the clip.
    frames : np.ndarray [shape=(clips,), dtype=int]
        Number of frames of each clip; the rest of its row is padding.
    rms : np.ndarray [shape=(clips,)]
        Root mean square of the waveform of each clip, full scale 1.0; NaN where unknown.
    teachers : dict of str to Teacher
    """

    ids: np.ndarray
    source: np.ndarray
    artist: np.ndarray
    basis: np.ndarray
    label: np.ndarray
    allowed: np.ndarray
    fold: np.ndarray
    spectrograms: np.ndarray
    frames: np.ndarray
    rms: np.ndarray
    teachers: dict[str, Teacher]

    def __len__(self) -> int:
        return len(self.ids)

    def cqt_db(self, clip: int) -> np.ndarray:
        """Spectrogram of one clip, [shape=(84, frames), dtype=float32], -80 to 0 dB."""
        return self.spectrograms[clip, :, : self.frames[clip]].astype(np.float32) / 2 - TOP_DB

    def split(self, fold: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train on and rows of the test fold; without a fold, all rows and none."""
        if fold is None:
            return np.arange(len(self)), np.arange(0)
        return np.flatnonzero(self.fold != fold), np.flatnonzero(self.fold == fold)


def load(directory: Path) -> Dataset:
    """Read a data directory.

    Parameters
    ----------
    directory : Path
        Holds ``clips.csv``, ``cqt_<source>.npz`` for each source in it, and ``teachers.npz``.

    Returns
    -------
    Dataset
    """
    with (directory / "clips.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    frames = np.array([int(row["frames"]) for row in rows])
    spectrograms = np.zeros((len(rows), 84, frames.max()), dtype=np.uint8)
    archives = {source: np.load(directory / f"cqt_{source}.npz") for source in sorted({row["source"] for row in rows})}
    for index, row in enumerate(rows):
        stored = archives[row["source"]][row["id"].replace("/", "|")]
        frames[index] = stored.shape[1]
        spectrograms[index, :, : stored.shape[1]] = stored

    archive = np.load(directory / "teachers.npz")
    position = {identifier: index for index, identifier in enumerate(archive["ids"])}
    order = np.array([position[row["id"]] for row in rows])
    return Dataset(
        ids=np.array([row["id"] for row in rows]),
        source=np.array([row["source"] for row in rows]),
        artist=np.array([row["artist"] for row in rows]),
        basis=np.array([row["basis"] for row in rows]),
        label=np.array([LABELS.index(row["label"]) if row["label"] else -1 for row in rows]),
        allowed=np.array([_allowed_leaves(row) for row in rows]),
        fold=np.array([int(row["fold"]) for row in rows]),
        spectrograms=spectrograms,
        frames=frames,
        rms=np.array([float(row["rms"] or "nan") for row in rows]),
        teachers={name: _read_teacher(archive, name, order) for name in TEACHER_SECONDS},
    )


def _allowed_leaves(row: dict[str, str]) -> list[bool]:
    known = [
        (name, row[field])
        for field, name in (("label", "label"), ("level9", "level9"), ("level2", "level2"))
        if row[field]
    ]
    return [all(getattr(leaf, name) == value for name, value in known) for leaf in LEAVES]


def _read_teacher(archive: np.lib.npyio.NpzFile, name: str, order: np.ndarray) -> Teacher:
    rows = archive[name].astype(np.float32)
    if "tags" in name:
        rows = np.clip(rows, 1e-4, 1 - 1e-4)
        rows = np.log(rows / (1 - rows))
    counts_name = name.partition("_")[0] + "_windows"
    counts = np.ones(len(order), dtype=int) if name.endswith("_clip") else archive[counts_name].astype(int)
    ends = np.cumsum(counts)
    windows = np.zeros((len(order), counts.max(), rows.shape[1]), dtype=np.float32)
    for to, clip in enumerate(order):
        windows[to, : counts[clip]] = rows[ends[clip] - counts[clip] : ends[clip]]
    return Teacher(windows, np.maximum(counts[order], 1), TEACHER_SECONDS[name])
