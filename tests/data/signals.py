"""Computed waveforms for testing the spectrograms: each tests a different step of the constant-Q transform.

Shared by the golden arrays' script, the tests and the benchmarks; the same numbers on every machine and numpy.
"""

from __future__ import annotations

import numpy as np

SAMPLE_RATE = 22050
SECONDS = 2.0


def _time(seconds: float) -> np.ndarray:
    return np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def _tone(frequency: float, seconds: float = SECONDS) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * _time(seconds))


def _noise(n: int) -> np.ndarray:
    # numpy keeps the raw bits of a named generator fixed, but not the distributions drawn from them.
    return np.random.PCG64(2026).random_raw(n) / 2.0**63 - 1.0


def _sweep() -> np.ndarray:
    lowest, highest = 25.0, 10_000.0
    growth = np.log(highest / lowest) / SECONDS
    return np.sin(2 * np.pi * lowest / growth * (np.exp(growth * _time(SECONDS)) - 1))


def _clicks() -> np.ndarray:
    clicks = np.zeros(int(SECONDS * SAMPLE_RATE))
    clicks[[0, 1000, 9999, 20_480, 20_481, 40_000, len(clicks) - 1]] = [1, 1, -1, 0.5, 0.5, 0.1, 1]
    return clicks


def _plucked_chord() -> np.ndarray:
    decay = np.exp(-3 * _time(SECONDS))
    return sum(_tone(f * k) / k * decay for f in (73.42, 110.0, 146.83, 185.0) for k in range(1, 12))


def computed_signals() -> dict[str, np.ndarray]:
    """Name to waveform [n], float32, mono at 22,050 Hz."""
    noise = _noise(int(SECONDS * SAMPLE_RATE))
    signals = {
        "tone_a4": 0.5 * _tone(440.0),
        "tone_between_bins": 0.5 * _tone(453.0),
        "tones_60_db_apart": _tone(55.0) + 1e-2 * _tone(880.0) + 1e-3 * _tone(3951.0),
        "loud_above_the_top_bin": _tone(9_500.0) + 1e-3 * _tone(65.4),
        "sweep": 0.8 * _sweep(),
        "noise": 0.3 * noise,
        "clicks": _clicks(),
        "plucked_chord": 0.2 * _plucked_chord(),
        "beyond_full_scale": 8.0 * _tone(220.0),
        "very_quiet": 1e-6 * _tone(220.0),
        "silence": np.zeros(int(SECONDS * SAMPLE_RATE)),
        "odd_length": 0.3 * noise[:22_051],
        "whole_hops": 0.3 * noise[: 40 * 512],
        "one_short_of_a_hop": 0.3 * noise[: 40 * 512 - 1],
        "short_0.3_s": 0.5 * _tone(220.0, 0.3),
        "5_samples": np.array([0.1, 0.9, -0.4, 0.2, 0.3]),
        "1_sample": np.array([0.7]),
    }
    return {name: waveform.astype(np.float32) for name, waveform in signals.items()}
