"""The recordings of a run: their spectrograms and labels, and which are held out."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccmusic.audio.decode import DecodeLimits
from ccmusic.errors import InvalidParameter
from ccmusic.evaluation.labelled_data import LabelledData
from ccmusic.finetuning.early_stopping import balanced_log_loss
from ccmusic.finetuning.excerpts import Excerpt, cut_excerpts, tracks
from ccmusic.finetuning.non_music_rules import limits_for_labels
from ccmusic.finetuning.plan import Plan
from ccmusic.finetuning.spectrograms import Spectrogram, cached_spectrograms
from ccmusic.finetuning.split import held_out
from ccmusic.inference.non_music import non_music_kind
from ccmusic.models.card import Card
from ccmusic.models.non_music_limits import NonMusicLimits
from ccmusic.scoring.class_weights import class_weights
from ccmusic.scoring.temperature import track_probabilities

SHORT_SHARE = 0.3
"""Share of a recording's weight in the loss that its short cuts have; its windows have the rest."""
FEW_HELD_OUT = 5


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Recordings, one row each.

    Attributes
    ----------
    data : LabelledData
    labels : tuple of str
    reference : np.ndarray [shape=(n,), dtype=int]
        Indices into `labels`.
    spectrograms : list of Spectrogram
    held : np.ndarray [shape=(n,), dtype=bool]
        True where a recording is held out.
    excerpts : list of Excerpt
        Excerpts of every recording.
    odd_limits : NonMusicLimits
        For the new model.
    notes : tuple of str
        Remarks for the reader of the figures.
    refused : dict of Path to str
        The reason for each recording that cannot be used.
    """

    data: LabelledData
    labels: tuple[str, ...]
    reference: np.ndarray
    spectrograms: list[Spectrogram]
    held: np.ndarray
    excerpts: list[Excerpt]
    odd_limits: NonMusicLimits
    notes: tuple[str, ...]
    refused: dict[Path, str]

    @property
    def rows(self) -> np.ndarray:
        """Row of each excerpt's recording, [shape=(excerpts,), dtype=int]."""
        return np.array([excerpt.row for excerpt in self.excerpts], dtype=int)

    @property
    def is_held(self) -> np.ndarray:
        """Whether each excerpt belongs to a held-out recording, [shape=(excerpts,), dtype=bool]."""
        return np.asarray(self.held[self.rows])

    @property
    def held_out_excerpts(self) -> list[Excerpt]:
        """The excerpts of held-out recordings."""
        return [excerpt for excerpt in self.excerpts if self.held[excerpt.row]]

    @property
    def is_odd(self) -> np.ndarray:
        """Whether the service will flag each recording as odd, [shape=(n,), dtype=bool]."""
        limits = self.odd_limits
        found = (spectrogram.traits for spectrogram in self.spectrograms)
        return np.array([traits is not None and non_music_kind(traits, limits) is not None for traits in found])

    def weights(self) -> np.ndarray:
        """Weight of each excerpt in the loss, [shape=(excerpts,)]: equal for labels, and within a label."""
        counts = Counter((excerpt.row, excerpt.seconds is None) for excerpt in self.excerpts)
        of_class = class_weights(self.reference[~self.held], 1.0, len(self.labels))
        out = np.empty(len(self.excerpts))
        for index, excerpt in enumerate(self.excerpts):
            whole = excerpt.seconds is None
            share = 1.0 if not counts[excerpt.row, False] else 1 - SHORT_SHARE if whole else SHORT_SHARE
            out[index] = of_class[self.reference[excerpt.row]] * share / counts[excerpt.row, whole]
        return np.asarray(out / out[~self.is_held].mean())

    def judge(self, excerpts: Sequence[Excerpt], logits: np.ndarray) -> float:
        """Loss on whole held-out recordings, from the logits of their excerpts."""
        rows, by_window = tracks(excerpts, logits, None)
        return balanced_log_loss(self.reference[rows], track_probabilities(by_window))

    def fingerprint(self, start: Card, plan: Plan) -> str:
        """Hash of everything that must be equal to resume a run; the limits of epochs need not be."""
        content = [start.sha256, plan.tune, plan.holdout, plan.seed, self.labels, self.reference.tolist()]
        content += [[spectrogram.digest for spectrogram in self.spectrograms], self.held.tolist()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def write_held_out(self, path: Path) -> None:
        """List the held-out recordings for ``ccmusic evaluate``, with the other columns of their CSV."""
        held = [self.data.recordings[row] for row in np.flatnonzero(self.held)]
        known = ("path", "label", "artist")
        further = [name for name in held[0].columns if name not in known]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*known, *further])
            for recording in held:
                values = [recording.columns[name] for name in further]
                writer.writerow([recording.path, recording.label, recording.artist or "", *values])


def read_training_set(
    data: LabelledData,
    card: Card,
    plan: Plan,
    directory: Path,
    *,
    jobs: int,
    limits: DecodeLimits,
    on_done: Callable[[], object] = lambda: None,
) -> TrainingSet:
    """Read every recording, and choose those to hold out.

    Parameters
    ----------
    data : LabelledData
    card : Card
        Of the base model.
    plan : Plan
    directory : Path
        Cache of the spectrograms.
    jobs : int
    limits : DecodeLimits
    on_done : callable
        Called after each recording.

    Raises
    ------
    InvalidParameter
        Fewer than two labels have usable recordings, or no artist can be held out.
    """
    _require_two(data)
    found, refused = cached_spectrograms(
        [recording.path for recording in data.recordings],
        directory,
        card,
        jobs=jobs,
        limits=limits,
        on_done=on_done,
    )
    used, copies = _without_copies(found)
    if not used:
        path, why = next(iter(refused.items()))
        raise InvalidParameter("--data", f"has no recording that can be used; {path}: {why}")
    data = data.select(used)
    _require_two(data)
    labels, spectrograms = data.labels, [spectrogram for row in used if (spectrogram := found[row]) is not None]
    reference = data.reference(labels)
    held, missing = held_out(reference, data.units, plan.holdout, plan.seed)
    trained_on = [spectrogram.traits for spectrogram, is_held in zip(spectrograms, held, strict=True) if not is_held]
    odd_limits, of_rules = limits_for_labels(trained_on, reference[~held], labels, card.odd or NonMusicLimits())
    notes = [*data.notes, *_notes(labels, reference[held], missing), *of_rules]
    if copies:
        notes.append(f"{copies} recordings are byte-identical copies of others: left out")
    excerpts = cut_excerpts(spectrograms, range(len(spectrograms)), card)
    return TrainingSet(data, labels, reference, spectrograms, held, excerpts, odd_limits, tuple(notes), refused)


def _require_two(data: LabelledData) -> None:
    if len(data.labels) < 2:
        raise InvalidParameter("--data", f"must have recordings of at least two labels, not only of {data.labels[0]!r}")


def _without_copies(found: Sequence[Spectrogram | None]) -> tuple[list[int], int]:
    """Usable rows, each content once: a copy on the other side of the split would falsify the measures."""
    rows: dict[str, int] = {}
    for row, spectrogram in enumerate(found):
        if spectrogram is not None:
            rows.setdefault(spectrogram.digest, row)
    usable = sum(spectrogram is not None for spectrogram in found)
    return sorted(rows.values()), usable - len(rows)


def _notes(labels: tuple[str, ...], held: np.ndarray, missing: tuple[int, ...]) -> list[str]:
    counts = np.bincount(held, minlength=len(labels))
    notes = []
    if missing:
        names = ", ".join(labels[label] for label in missing)
        notes.append(f"{names}: no recording is held out, because one artist has them all; the accuracy is unknown")
    few = [f"{label} ({n})" for label, n in zip(labels, counts, strict=True) if 0 < n < FEW_HELD_OUT]
    if few:
        notes.append(f"few recordings are held out of {', '.join(few)}: their figures are uncertain")
    return notes
