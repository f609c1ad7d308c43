"""Golden clips of a network, for its card."""

from __future__ import annotations

import numpy as np
import pytest

from ccmusic.models.golden import SAMPLE_RATE, SIGNALS, golden_clips


def test_there_is_a_clip_for_every_signal_and_length_with_every_output() -> None:
    def ask(waveform: np.ndarray) -> list[np.ndarray]:
        return [np.array([[len(waveform) / SAMPLE_RATE, waveform[100]]]), np.array([[waveform[200]]])]

    clips = golden_clips(ask, (0.5, 2.0), ("world",))
    assert [(clip.signal, clip.seconds) for clip in clips] == [
        ("chords", 0.5), ("beat", 0.5), ("chords", 2.0), ("beat", 2.0),
    ]  # fmt: skip
    for clip in clips:
        waveform = SIGNALS[clip.signal](clip.seconds)
        assert clip.logits == (clip.seconds, waveform[100])
        assert clip.heads == {"world": (waveform[200],)}


def test_an_output_without_a_taxonomy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        golden_clips(lambda _: [np.zeros((1, 2)), np.zeros((1, 3))], (0.5,))
