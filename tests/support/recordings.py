"""Computed recordings."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from ccmusic.features import cqt

SAMPLE_RATE = 22050


def tone(frequency: float, seconds: float, amplitude: float = 0.5, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A sine [shape=(n,), dtype=float32]."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def bin_frequency(index: int) -> float:
    """Centre frequency of a CQT bin, in Hz."""
    return float(cqt.FMIN * 2 ** (index / 12))


def wav(waveform: np.ndarray, sample_rate: int = SAMPLE_RATE, form: str = "WAV") -> bytes:
    """The bytes of an audio file, in any of libsndfile's formats."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, sample_rate, format=form)
    return buffer.getvalue()
