"""Constant-Q spectrogram, equal to ``librosa.cqt`` with its defaults, four to six times faster and without librosa.

The method is that of Schörkhuber and Klapuri ("Constant-Q transform toolbox for music processing", SMC 2010), as in
librosa 0.11: twelve filters compute the top octave from short frames; then the sample rate and the hop are halved, and
the same filters compute the next lower octave.

The differences from librosa change the time, not the result:

* With twelve bins per octave and a sample rate that halves exactly, all octaves use the same twelve filters of 256
  samples.
* librosa multiplies each frame's spectrum by the filters' spectra. We transform the filters (after librosa's
  sparsification) back to time once, so each octave is a real matrix product without any transform of the audio.
* Overlapping frames are not copied: frames that are a filter length apart share no sample, so they are rows of one
  strided view.
* The waveform is processed in blocks of frames, so the working memory is the halved waveforms and a few MB.

docs/cqt-parity.md has the measured differences and times; ``bench/cqt.py`` measures them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import soxr
from numpy.lib.stride_tricks import as_strided

from ccmusic.features.spectrogram import (
    FRAMES_PER_SECOND,
    HOP_LENGTH,
    SAMPLE_RATE,
    check_waveform,
    cut_padded,
    power_to_db,
)

__all__ = [
    "BINS_PER_OCTAVE",
    "FMIN",
    "FRAMES_PER_SECOND",
    "HOP_LENGTH",
    "N_BINS",
    "SAMPLE_RATE",
    "cqt_db",
    "cqt_magnitude",
]

N_BINS = 84
BINS_PER_OCTAVE = 12
FMIN = 32.70319566257483  # C1, in Hz

N_OCTAVES = N_BINS // BINS_PER_OCTAVE
SPARSITY = 0.01  # share of each filter's spectral magnitude that librosa sets to zero
HALVED_SAMPLES = 2**19  # per block that is halved in place
SPARE_BYTES = 8  # Python gives memory of a bytearray back if less than half of it is left
BLOCK_SAMPLES = 2**17  # per block of frames; half a MB, so that a block stays in the processor's cache


def cqt_magnitude(waveform: np.ndarray) -> np.ndarray:
    """Magnitude of the constant-Q transform.

    Equals ``np.abs(librosa.cqt(waveform, sr=22050))`` of librosa 0.11: 84 bins from C1, 12 per octave, hop 512, Hann
    windows, zeros beyond both ends, also for a recording shorter than the longest filter (0.53 s).

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        Mono at 22,050 Hz, n >= 1.

    Returns
    -------
    np.ndarray [shape=(84, 1 + n // 512), dtype=float32]
        |C|, in units of the waveform; row 0 is C1, frame t is centred on sample 512 t.

    Raises
    ------
    EmptyAudio
        The waveform has no samples.
    InvalidParameter
        The waveform is not one-dimensional, or contains NaN or infinity.
    """
    check_waveform(waveform)
    octave_waveform = np.ascontiguousarray(waveform, dtype=np.float32)
    hop_length = HOP_LENGTH
    magnitude = np.empty((N_BINS, 1 + len(waveform) // HOP_LENGTH), dtype=np.float32)
    for octave in range(N_OCTAVES):
        if octave:
            length = (len(octave_waveform) + 1) // 2
            if octave == 1:
                memory = bytearray(4 * length + SPARE_BYTES)
            halved = np.frombuffer(memory, dtype=np.float32)
            _halve_rate(octave_waveform, halved)
            del octave_waveform, halved  # a bytearray that is viewed cannot be cut
            del memory[4 * length :]  # given back without a copy; numpy 2.5 copies an array that is resized
            octave_waveform = np.frombuffer(memory, dtype=np.float32)
            hop_length //= 2
        top = N_BINS - octave * BINS_PER_OCTAVE
        bins = magnitude[top - BINS_PER_OCTAVE : top]
        _read_octave(octave_waveform, hop_length, out=bins)
        # librosa scales the halved waveform and the filters by sqrt(2) per octave, and divides by sqrt(length).
        bins *= np.float32(2 ** (octave / 2))
    return magnitude


def cqt_db(waveform: np.ndarray) -> np.ndarray:
    """Constant-Q spectrogram in dB relative to its maximum: `power_to_db` of the square of `cqt_magnitude`.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        Mono at 22,050 Hz, n >= 1.

    Returns
    -------
    np.ndarray [shape=(84, 1 + n // 512), dtype=float32]
        Between -80 and 0.

    Raises
    ------
    EmptyAudio, InvalidParameter
        See `cqt_magnitude`.
    """
    power = cqt_magnitude(waveform)
    np.square(power, out=power)
    return power_to_db(power)


def _halve_rate(waveform: np.ndarray, out: np.ndarray) -> None:
    """Resample 2 : 1 with soxr HQ to exactly ceil(n / 2) samples, as librosa does, into the beginning of `out`.

    `out` may be `waveform`: each block is written behind the samples that are read.
    """
    length = (len(waveform) + 1) // 2
    stream = soxr.ResampleStream(2, 1, 1, dtype="float32", quality="HQ")
    n_halved = 0
    for first in range(0, len(waveform), HALVED_SAMPLES):
        last = first + HALVED_SAMPLES
        halved = stream.resample_chunk(waveform[first:last], last=last >= len(waveform))[: length - n_halved]
        out[n_halved : n_halved + len(halved)] = halved
        n_halved += len(halved)
    out[n_halved:length] = 0.0  # soxr returns one sample too few for some lengths


def _read_octave(waveform: np.ndarray, hop_length: int, out: np.ndarray) -> None:
    """Write the twelve filters' magnitudes at every frame into `out` [12, frames]."""
    filters = _filter_bank()
    width = len(filters)
    n_frames = out.shape[1]
    # Frames `phases` apart share no sample: they are rows of one strided matrix, with one product per phase, no copies.
    phases = max(1, width // hop_length)
    rows_per_block = max(1, BLOCK_SAMPLES // (phases * hop_length))
    for first in range(0, n_frames, rows_per_block * phases):
        last = min(first + rows_per_block * phases, n_frames)
        rows = -(-(last - first) // phases)
        begin = first * hop_length - width // 2
        samples = cut_padded(waveform, begin, begin + rows * phases * hop_length + width)
        step = samples.itemsize
        frames = as_strided(
            samples,
            shape=(phases, rows, width),
            strides=(hop_length * step, phases * hop_length * step, step),
            writeable=False,
        )
        response = frames @ filters  # [phases, rows, 24]: real parts, then imaginary parts
        power = response.transpose(2, 1, 0).reshape(2 * BINS_PER_OCTAVE, rows * phases)[:, : last - first]
        np.square(power, out=power)
        bins = out[:, first:last]
        np.add(power[:BINS_PER_OCTAVE], power[BINS_PER_OCTAVE:], out=bins)
        np.sqrt(bins, out=bins)


@cache  # two first threads may both build it (1 ms); the results are equal and read-only
def _filter_bank() -> np.ndarray:
    """The top octave's filters in time, as columns: real parts, then imaginary parts [256, 24].

    Follows ``librosa.filters.wavelet`` (norm 1) and ``librosa.util.sparsify_rows``.
    """
    top_octave = np.arange(N_BINS - BINS_PER_OCTAVE, N_BINS)
    frequencies = FMIN * 2.0 ** (top_octave / BINS_PER_OCTAVE)
    octave_step = 2.0 ** (2.0 / BINS_PER_OCTAVE)
    quality = (octave_step + 1) / (octave_step - 1)
    lengths = quality * SAMPLE_RATE / frequencies
    width = 2 ** int(np.ceil(np.log2(lengths.max())))

    bank = np.zeros((BINS_PER_OCTAVE, width), dtype=np.complex128)
    for row, frequency, length in zip(bank, frequencies, lengths, strict=True):
        time = np.arange(-length // 2, length // 2) / SAMPLE_RATE
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(time)) / len(time))
        wavelet = hann * np.exp(2j * np.pi * frequency * time)
        start = (width - len(time)) // 2
        row[start : start + len(time)] = wavelet / np.abs(wavelet).sum() * (length / width)

    spectra = np.fft.fft(bank, axis=1)[:, : width // 2 + 1]
    for spectrum in spectra:
        ascending = np.sort(np.abs(spectrum))
        kept_from = np.argmin(np.cumsum(ascending) / ascending.sum() < SPARSITY)
        spectrum[np.abs(spectrum) < ascending[kept_from]] = 0

    # The product with a frame's spectrum, sum_k B[k] X[k], as a sum over the frame's samples.
    turns = np.outer(np.arange(spectra.shape[1]), np.arange(width)) / width
    in_time = spectra @ np.exp(-2j * np.pi * turns)
    in_time /= np.sqrt(lengths)[:, np.newaxis]
    filters = np.concatenate([in_time.real, in_time.imag]).T.astype(np.float32, order="C")
    filters.flags.writeable = False
    return filters
