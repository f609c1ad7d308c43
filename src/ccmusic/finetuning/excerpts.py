"""The excerpts of each recording that a network sees: the windows that the service would cut, and shorter cuts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ccmusic.features.crops import rereference, seconds_to_frames
from ccmusic.finetuning.spectrograms import Spectrogram
from ccmusic.inference.front_end import FrontEnd
from ccmusic.models.card import Card

SHORT_SECONDS = (0.3, 1.0, 3.0)
"""Lengths below that of a window; cuts of these lengths are treated as recordings of their own."""

CUTS = 3
"""Cuts of each recording at each of these lengths, evenly spread."""

PICTURES_PER_BATCH = 32

Forward = Callable[[np.ndarray], np.ndarray]
"""Decibels [shape=(batch, 84, frames)] to rows [shape=(batch, size)]."""


@dataclass(frozen=True)
class Excerpt:
    """Some frames of a recording.

    Attributes
    ----------
    row : int
        Of the recording.
    seconds : float or None
        Length of the cut; None for a window of the whole recording.
    first, last : int
        First frame and the frame after the last.
    """

    row: int
    seconds: float | None
    first: int
    last: int

    def picture(self, spectrogram: Spectrogram) -> np.ndarray:
        """Decibels [shape=(84, frames)]; those of a cut are relative to its own maximum."""
        frames = spectrogram.read(self.first, self.last)
        return frames if self.seconds is None else rereference(frames)


def cut_excerpts(spectrograms: Sequence[Spectrogram], rows: Sequence[int] | np.ndarray, card: Card) -> list[Excerpt]:
    """The excerpts of some recordings.

    Parameters
    ----------
    spectrograms : sequence of Spectrogram
    rows : sequence of int
        Which of them.
    card : Card
        Has the length of a window.

    Returns
    -------
    list of Excerpt
    """
    front_end = FrontEnd(card)
    out = []
    for row in map(int, rows):
        n_frames = spectrograms[row].n_frames
        places = front_end.places(n_frames, spectrograms[row].duration_seconds, None)
        out += [Excerpt(row, None, first, last) for first, last in places]
        for seconds in SHORT_SECONDS:
            length = seconds_to_frames(seconds)
            if seconds < card.window_seconds and length < n_frames:
                firsts = np.unique(np.linspace(0, n_frames - length, CUTS).astype(int)).tolist()
                out += [Excerpt(row, seconds, first, first + length) for first in firsts]
    return out


def run_network(
    forward: Forward, excerpts: Sequence[Excerpt], spectrograms: Sequence[Spectrogram], on_done: Callable[[int], object]
) -> np.ndarray:
    """Run a network on excerpts, in batches of equal length.

    Parameters
    ----------
    forward : callable
    excerpts : sequence of Excerpt
    spectrograms : sequence of Spectrogram
    on_done : callable
        Called with the number of excerpts done.

    Returns
    -------
    np.ndarray [shape=(excerpts, size), dtype=float32]
    """
    by_length = defaultdict(list)
    for index, excerpt in enumerate(excerpts):
        by_length[excerpt.last - excerpt.first].append(index)
    out: np.ndarray | None = None
    for indices in by_length.values():
        for first in range(0, len(indices), PICTURES_PER_BATCH):
            part = indices[first : first + PICTURES_PER_BATCH]
            answers = forward(np.stack([excerpts[index].picture(spectrograms[excerpts[index].row]) for index in part]))
            if out is None:
                out = np.empty((len(excerpts), answers.shape[1]), dtype=np.float32)
            out[part] = answers
            on_done(len(part))
    assert out is not None  # noqa: S101  # every recording has a window
    return out


def tracks(excerpts: Sequence[Excerpt], logits: np.ndarray, seconds: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Group logits by track: whole recordings with all their windows, or the cuts of one length.

    Parameters
    ----------
    excerpts : sequence of Excerpt
    logits : np.ndarray [shape=(excerpts, labels)]
    seconds : float or None

    Returns
    -------
    rows : np.ndarray [shape=(tracks,), dtype=int]
    logits : np.ndarray [shape=(tracks, windows, labels)]
        NaN where a track has fewer windows.
    """
    of_row = defaultdict(list)
    for index, excerpt in enumerate(excerpts):
        if excerpt.seconds == seconds:
            of_row[excerpt.row if seconds is None else index].append(index)
    most = max(map(len, of_row.values()), default=0)
    out = np.full((len(of_row), most, logits.shape[1]), np.nan)
    for place, indices in enumerate(of_row.values()):
        out[place, : len(indices)] = logits[indices]
    return np.array([excerpts[indices[0]].row for indices in of_row.values()], dtype=int), out
