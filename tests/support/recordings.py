"""Computed recordings."""

from __future__ import annotations

import io
from functools import cache

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


@cache
def melody(seed: int, seconds: float = 15.0, *, tempo: float = 1.0, transposed: int = 0) -> np.ndarray:
    """Chords of random notes and lengths over a bass [shape=(n,), dtype=float32]; the same everywhere, read-only."""
    bits = iter(np.random.PCG64(seed).random_raw(100_000))
    waveform = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    start = 0.0
    while start < len(waveform):
        seconds_of_note = (0.2 + next(bits) / 2.0**64 * 0.8) / tempo
        time = np.arange(min(len(waveform) - int(start), 2 * SAMPLE_RATE)) / SAMPLE_RATE
        loudness = 0.02 + 0.1 * next(bits) / 2.0**64
        for note in (16 + next(bits) % 12, 28 + next(bits) % 24, 28 + next(bits) % 24):
            frequency = bin_frequency(int(note) + transposed)
            for harmonic in range(1, 5):
                wave = np.sin(2 * np.pi * frequency * harmonic * time) * np.exp(-0.6 * harmonic * time)
                waveform[int(start) : int(start) + len(time)] += (loudness / harmonic * wave).astype(np.float32)
        start += seconds_of_note * SAMPLE_RATE
    waveform.flags.writeable = False
    return waveform
