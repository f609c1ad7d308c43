"""What the network is fed: spectrogram, windows, and for some models a drawing of each window, as the card says."""

from __future__ import annotations

import numpy as np

from ccmusic.audio.windows import cut, upstream_windows
from ccmusic.features import cqt, image, mel
from ccmusic.models.card import Card

Places = list[tuple[int, int]]
"""First frame and the frame after the last of each window."""


class FrontEnd:
    """The part of the road between waveform and network, for one card.

    Parameters
    ----------
    card : Card
    """

    def __init__(self, card: Card) -> None:
        self._card = card
        # as many as a recording of exactly this length has
        self._frames_per_window = 1 + int(card.window_seconds * cqt.FRAMES_PER_SECOND)

    def spectrogram_db(self, waveform: np.ndarray) -> np.ndarray:
        """The card's spectrogram of a whole recording, silence added to make it long enough.

        Parameters
        ----------
        waveform : np.ndarray [shape=(n,), dtype=float32]
            Mono at 22,050 Hz.

        Returns
        -------
        np.ndarray [shape=(bins, frames), dtype=float32]
            Decibels below its own maximum.
        """
        n_min = round(self._card.min_seconds * cqt.SAMPLE_RATE)
        if len(waveform) < n_min:
            waveform = np.pad(waveform, (0, n_min - len(waveform)))
        return cqt.cqt_db(waveform) if self._card.features.kind == "cqt_db" else mel.mel_db(waveform)

    def places(self, n_frames: int, duration_seconds: float, count: int | None) -> Places:
        """Where the windows lie.

        Parameters
        ----------
        n_frames : int
            Of the recording's spectrogram.
        duration_seconds : float
            Of the recording.
        count : int or None
            Exactly so many; None leaves it to the card.
        """
        if count is None and self._card.placing == "upstream":
            return upstream_windows(n_frames, duration_seconds, self._card.window_seconds)
        return cut(n_frames, self._frames_per_window, count)

    def network_input(self, windows_db: list[np.ndarray]) -> np.ndarray:
        """Windows of one length as the network takes them.

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
