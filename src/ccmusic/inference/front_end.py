"""Turns a waveform into the network's input, as the model's card requires.

The card's fields that are followed here are ``features``, ``drawing``, ``placing``, ``window_seconds`` and
``min_seconds``. `SPECTROGRAMS` is the one table of spectrograms: a new one is a function in `ccmusic.features` and a
row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ccmusic.audio.windows import cut, upstream_windows
from ccmusic.errors import ModelRefused
from ccmusic.features import cqt, image, mel, spectrogram
from ccmusic.models.card import Card

Places = list[tuple[int, int]]
"""Of each window: its first frame, and the frame after its last."""


@dataclass(frozen=True, slots=True)
class Spectrogram:
    """A row of `SPECTROGRAMS`.

    Attributes
    ----------
    compute : callable
        Waveform [n] at 22,050 Hz -> decibels [bins, frames].
    parameters : mapping of str to number
        What `compute` works with. A card may repeat them in ``features``, but not change them.
    """

    compute: Callable[[np.ndarray], np.ndarray]
    parameters: Mapping[str, float]


_GRID = {"sample_rate": spectrogram.SAMPLE_RATE, "hop_length": spectrogram.HOP_LENGTH, "top_db": spectrogram.TOP_DB}

SPECTROGRAMS: dict[str, Spectrogram] = {
    "cqt_db": Spectrogram(
        cqt.cqt_db, _GRID | {"n_bins": cqt.N_BINS, "bins_per_octave": cqt.BINS_PER_OCTAVE, "fmin": cqt.FMIN}
    ),
    "mel_db": Spectrogram(mel.mel_db, _GRID | {"n_fft": mel.N_FFT, "n_mels": mel.N_BANDS}),
}
"""Every spectrogram by the name that a card's ``features.kind`` uses."""

DRAWING: dict[str, object] = {
    "colormap": "magma",
    "canvas": [image.WIDTH, image.HEIGHT],
    "jpeg_quality": 75,
    "size": [224, 224],
    "mean": 0.5,
    "std": 0.5,
}
"""What `ccmusic.features.image.network_picture` works with. A card may repeat it in ``drawing``, but not change it."""


class FrontEnd:
    """The part of the pipeline between waveform and network, for one card.

    Parameters
    ----------
    card : Card

    Attributes
    ----------
    min_frames : int
        Frames of the shortest window.

    Raises
    ------
    ModelRefused
        The card names an unknown spectrogram, or states a parameter that is not followed; the text names the field.
    """

    def __init__(self, card: Card) -> None:
        if (kind := card.features.kind) not in SPECTROGRAMS:
            raise ModelRefused(f"features.kind of the card must be one of {', '.join(SPECTROGRAMS)}, not {kind!r}")
        self._spectrogram = SPECTROGRAMS[kind]
        _require("features", card.features.model_extra, self._spectrogram.parameters)
        if card.drawing is not None:
            _require("drawing", card.drawing.model_extra, DRAWING)
        self._card = card
        # the number of frames of a recording of exactly this length
        self._frames_per_window = 1 + int(card.window_seconds * cqt.FRAMES_PER_SECOND)
        self.min_frames = 1 + int(card.min_seconds * cqt.FRAMES_PER_SECOND)

    def spectrogram_db(self, waveform: np.ndarray) -> np.ndarray:
        """The card's spectrogram of a whole recording; one shorter than ``min_seconds`` is padded with silence.

        Parameters
        ----------
        waveform : np.ndarray [shape=(n,), dtype=float32]
            Mono at 22,050 Hz.

        Returns
        -------
        np.ndarray [shape=(bins, frames), dtype=float32]
            Decibels relative to its own maximum.
        """
        n_min = round(self._card.min_seconds * cqt.SAMPLE_RATE)
        if len(waveform) < n_min:
            waveform = np.pad(waveform, (0, n_min - len(waveform)))
        return self._spectrogram.compute(waveform)

    def places(self, n_frames: int, duration_seconds: float, count: int | None) -> Places:
        """The positions of the windows in a recording or a part of one.

        Parameters
        ----------
        n_frames : int
            Of its spectrogram.
        duration_seconds : float
        count : int or None
            The number of windows; None uses the card's rule.
        """
        if count is None and self._card.placing == "upstream":
            return upstream_windows(n_frames, duration_seconds, self._card.window_seconds)
        return cut(n_frames, self._frames_per_window, count)

    def network_input(self, windows_db: list[np.ndarray]) -> np.ndarray:
        """Windows of one length as a batch for the network.

        Parameters
        ----------
        windows_db : list of np.ndarray [shape=(bins, frames), dtype=float32]

        Returns
        -------
        np.ndarray [shape=(n_windows, bins, frames) or (n_windows, 3, 224, 224), dtype=float32]
        """
        if self._card.drawing is None:
            return np.stack(windows_db)
        return np.stack([image.network_picture(window) for window in windows_db])


def _require(part: str, stated: Mapping[str, Any] | None, followed: Mapping[str, object]) -> None:
    """Refuse a card that states another parameter or value than those that are followed."""
    for name, value in (stated or {}).items():
        if name not in followed:
            raise ModelRefused(f"{part}.{name} of the card is not a parameter of this version")
        if value != followed[name]:
            raise ModelRefused(f"{part}.{name} of the card must be {followed[name]!r} in this version, not {value!r}")
