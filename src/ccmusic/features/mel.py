"""Mel spectrogram, equal to ``librosa.feature.melspectrogram`` with its defaults, faster and without librosa.

Frames of 2,048 samples under a Hann window, 512 apart; the power of their Fourier transform, summed by 128 triangular
filters of equal area on Slaney's mel scale ("Auditory Toolbox", 1998). The differences from librosa 0.11 change the
time, not the result:

* Transform and sums are in single precision.
* A filter spans a small part of the spectrum, so groups of sixteen neighbouring filters are multiplied by their part.
* The waveform is processed in blocks of frames, so the working memory is a few MB.

docs/mel-parity.md has the measured differences and times; ``bench/mel.py`` measures them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ccmusic.features.spectrogram import HOP_LENGTH, SAMPLE_RATE, check_waveform, cut_padded, power_to_db

__all__ = ["N_BANDS", "N_FFT", "mel_db", "mel_power"]

N_BANDS = 128
N_FFT = 2048

BANDS_PER_GROUP = 16
FRAMES_PER_BLOCK = 64  # half a MB of samples, so that a block stays in the processor's cache

LINEAR_HERTZ_PER_MEL = 200.0 / 3.0  # Slaney's scale: linear below 1,000 Hz ...
LOGARITHMIC_FROM_HERTZ = 1000.0
MELS_PER_OCTAVE = 27.0 / np.log2(6.4)  # ... and logarithmic above


def mel_power(waveform: np.ndarray) -> np.ndarray:
    """Mel spectrogram of power.

    Equals ``librosa.feature.melspectrogram(y=waveform, sr=22050)`` of librosa 0.11: 128 bands from 0 to 11,025 Hz,
    n_fft 2048, hop 512, zeros beyond both ends.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        Mono at 22,050 Hz, n >= 1.

    Returns
    -------
    np.ndarray [shape=(128, 1 + n // 512), dtype=float32]
        In squared units of the waveform; row 0 is the lowest band, frame t is centred on sample 512 t.

    Raises
    ------
    EmptyAudio
        The waveform has no samples.
    InvalidParameter
        The waveform is not one-dimensional, or contains NaN or infinity.
    """
    check_waveform(waveform)
    waveform = np.ascontiguousarray(waveform, dtype=np.float32)
    hann, filters = _hann(), _filter_bank()
    n_frames = 1 + len(waveform) // HOP_LENGTH
    mel = np.empty((N_BANDS, n_frames), dtype=np.float32)
    for first in range(0, n_frames, FRAMES_PER_BLOCK):
        last = min(first + FRAMES_PER_BLOCK, n_frames)
        begin = first * HOP_LENGTH - N_FFT // 2
        samples = cut_padded(waveform, begin, begin + (last - first - 1) * HOP_LENGTH + N_FFT)
        frames = sliding_window_view(samples, N_FFT)[::HOP_LENGTH] * hann
        spectrum = np.fft.rfft(frames, axis=1)
        power = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        for band, (low, weights) in zip(range(0, N_BANDS, BANDS_PER_GROUP), filters, strict=True):
            bands = power[:, low : low + len(weights)] @ weights
            mel[band : band + BANDS_PER_GROUP, first:last] = bands.T
    return mel


def mel_db(waveform: np.ndarray) -> np.ndarray:
    """Mel spectrogram in dB relative to its maximum: `power_to_db` of `mel_power`.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        Mono at 22,050 Hz, n >= 1.

    Returns
    -------
    np.ndarray [shape=(128, 1 + n // 512), dtype=float32]
        Between -80 and 0.

    Raises
    ------
    EmptyAudio, InvalidParameter
        See `mel_power`.
    """
    return power_to_db(mel_power(waveform))


@cache
def _hann() -> np.ndarray:
    """Periodic Hann window [2048]."""
    turns = np.arange(N_FFT) / N_FFT
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * turns)).astype(np.float32)
    hann.flags.writeable = False
    return hann


@cache  # two first threads may both build it (a few ms); the results are equal and read-only
def _filter_bank() -> tuple[tuple[int, np.ndarray], ...]:
    """For each group of sixteen bands: its first bin and the weights of its bins [bins, 16].

    Follows ``librosa.filters.mel`` (Slaney's scale and norm).
    """
    hertz = np.arange(1 + N_FFT // 2) * (SAMPLE_RATE / N_FFT)
    corners = _mel_to_hertz(np.linspace(0.0, _hertz_to_mel(SAMPLE_RATE / 2), N_BANDS + 2))
    groups = []
    for band in range(0, N_BANDS, BANDS_PER_GROUP):
        left, centre, right = (corners[band + i : band + i + BANDS_PER_GROUP] for i in range(3))
        rising = (hertz[:, np.newaxis] - left) / (centre - left)
        falling = (right - hertz[:, np.newaxis]) / (right - centre)
        weights = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (right - left))
        spanned = np.flatnonzero(weights.any(axis=1))
        weights = weights[spanned[0] : spanned[-1] + 1].astype(np.float32)
        weights.flags.writeable = False
        groups.append((int(spanned[0]), weights))
    return tuple(groups)


def _hertz_to_mel(hertz: float) -> float:
    """For a frequency in the logarithmic part of Slaney's scale."""
    octaves = np.log2(hertz / LOGARITHMIC_FROM_HERTZ)
    return float(LOGARITHMIC_FROM_HERTZ / LINEAR_HERTZ_PER_MEL + octaves * MELS_PER_OCTAVE)


def _mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    logarithmic_from = LOGARITHMIC_FROM_HERTZ / LINEAR_HERTZ_PER_MEL
    octaves = np.maximum(0.0, mel - logarithmic_from) / MELS_PER_OCTAVE
    hertz: np.ndarray = np.where(
        mel < logarithmic_from, mel * LINEAR_HERTZ_PER_MEL, LOGARITHMIC_FROM_HERTZ * 2.0**octaves
    )
    return hertz
