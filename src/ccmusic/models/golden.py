"""Golden clips: waveforms computed from formulas, for which a card states the logits of its network.

They resemble music (harmonics, chords, beats), so that an error in any step of the pipeline (transform, decibel
reference, network) changes the logits.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from ccmusic.models.card_parts import GoldenClip

SAMPLE_RATE = 22050
RECORDING_SAMPLE_RATE = 48000


def _tone(frequency: float, seconds: float, n_harmonics: int, decay_seconds: float) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    partials = sum(
        np.sin(2 * np.pi * frequency * k * time) / k
        for k in range(1, n_harmonics + 1)
        if frequency * k < SAMPLE_RATE / 2
    )
    return partials * np.exp(-time / decay_seconds)


def _normalised(waveform: np.ndarray) -> np.ndarray:
    normalised: np.ndarray = (0.5 * waveform / np.abs(waveform).max()).astype(np.float32)
    return normalised


def chords(seconds: float) -> np.ndarray:
    """Slow plucked triads, D A Bm F#m: no noise, no beat.

    Parameters
    ----------
    seconds : float
        Length.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
        Mono at 22,050 Hz.
    """
    waveform = np.zeros(int(seconds * SAMPLE_RATE))
    chord_seconds = 1.25
    roots = (50, 57, 59, 54)
    thirds = (4, 4, 3, 3)
    for index in range(int(np.ceil(seconds / chord_seconds))):
        start = int(index * chord_seconds * SAMPLE_RATE)
        for step in (0, thirds[index % 4], 7, 12):
            frequency = 440.0 * 2 ** ((roots[index % 4] + step - 69) / 12)
            tone = _tone(frequency, chord_seconds, 8, 0.9)[: len(waveform) - start]
            waveform[start : start + len(tone)] += tone
    return _normalised(waveform)


def beat(seconds: float) -> np.ndarray:
    """Bass, backbeat and a buzzing fifth at 120 beats a minute: noise bursts and a steady pulse.

    Parameters
    ----------
    seconds : float
        Length.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
        Mono at 22,050 Hz.
    """
    generator = np.random.default_rng(16)  # PCG64, whose stream numpy keeps fixed
    waveform = np.zeros(int(seconds * SAMPLE_RATE))
    for index in range(int(np.ceil(seconds / 0.25))):
        start = int(index * 0.25 * SAMPLE_RATE)
        sound = 0.3 * _tone(164.8, 0.25, 20, 0.3) + 0.3 * _tone(246.9, 0.25, 20, 0.3)
        if index % 4 == 0:
            sound += 1.2 * _tone(55.0, 0.25, 2, 0.1)
        hiss = generator.standard_normal(len(sound)) * np.exp(-np.arange(len(sound)) / (0.03 * SAMPLE_RATE))
        sound += (0.8 if index % 4 == 2 else 0.15) * hiss
        sound = sound[: len(waveform) - start]
        waveform[start : start + len(sound)] += sound
    return _normalised(waveform)


SIGNALS: dict[str, Callable[[float], np.ndarray]] = {"chords": chords, "beat": beat}
"""Every golden signal, by its name in cards."""


def golden_clips(
    network: Callable[[np.ndarray], Sequence[np.ndarray]], lengths: Sequence[float], taxonomies: Sequence[str] = ()
) -> tuple[GoldenClip, ...]:
    """Run a network on every signal and length, for its card.

    Parameters
    ----------
    network : callable
        Returns the logits of each output [shape=(1, n_labels)] for a waveform as one window.
    lengths : sequence of float
        In seconds. A network with separate weights for short clips needs a short length too: self-tests do not reach
        weights that no golden clip uses.
    taxonomies : sequence of str
        Of the card's heads, in the order of the further outputs.

    Returns
    -------
    tuple of GoldenClip
    """
    clips = []
    for seconds in lengths:
        for name, signal in SIGNALS.items():
            logits, *others = (tuple(map(float, answer[0])) for answer in network(signal(seconds)))
            heads = dict(zip(taxonomies, others, strict=True))
            clips.append(GoldenClip(signal=name, seconds=seconds, logits=logits, heads=heads))
    return tuple(clips)


@lru_cache(maxsize=8)
def recording(signal: str, seconds: float) -> bytes:
    """A golden clip as an encoded file, so that it passes decoding, mixing and resampling too.

    Parameters
    ----------
    signal : str
        A key of `SIGNALS`.
    seconds : float
        Length.

    Returns
    -------
    bytes
        A WAV file: 32-bit float, stereo, 48 kHz, with exactly the content of the waveform below its Nyquist frequency.
    """
    waveform = SIGNALS[signal](seconds)
    n = round(len(waveform) * RECORDING_SAMPLE_RATE / SAMPLE_RATE)
    # Exact interpolation of a band-limited periodic signal: the resampling filter is part of the test.
    dense = np.fft.irfft(np.fft.rfft(waveform.astype(np.float64)), n) * (n / len(waveform))
    data = np.repeat(dense.astype("<f4"), 2).tobytes()
    form = struct.pack("<HHIIHH", 3, 2, RECORDING_SAMPLE_RATE, RECORDING_SAMPLE_RATE * 8, 8, 32)
    chunks = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks
