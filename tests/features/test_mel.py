"""The mel spectrogram against librosa's: golden arrays everywhere, librosa itself where it is installed."""

from __future__ import annotations

import runpy
import subprocess
import sys
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ccmusic.errors import EmptyAudio, InvalidParameter
from ccmusic.features import mel
from ccmusic.features.spectrogram import SAMPLE_RATE

DATA = Path(__file__).parent.parent / "data"
SIGNALS: dict[str, np.ndarray] = runpy.run_path(str(DATA / "signals.py"))["computed_signals"]()

# What is reached is 4e-7 of the largest value and 0.0002 dB; the rest is for other builds of numpy and BLAS.
MAX_RELATIVE_ERROR = 1e-5
MAX_DB_ERROR = 0.01


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(DATA / "mel_golden.npz") as arrays:
        return dict(arrays)


def reference_mel(librosa, waveform: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "n_fft is too large for input signal"
        return librosa.feature.melspectrogram(y=waveform, sr=SAMPLE_RATE)


def assert_same_spectrogram(reference: np.ndarray, estimated: np.ndarray) -> None:
    assert estimated.shape == reference.shape
    assert estimated.dtype == np.float32
    assert np.abs(estimated - reference).max() <= MAX_RELATIVE_ERROR * reference.max()


@pytest.mark.parametrize("name", SIGNALS)
def test_power_equals_golden(golden, name):
    assert_same_spectrogram(golden[f"power/{name}"], mel.mel_power(SIGNALS[name]))


@pytest.mark.parametrize("name", ["plucked_chord", "very_quiet", "silence"])
def test_decibels_equal_golden(golden, name):
    np.testing.assert_allclose(mel.mel_db(SIGNALS[name]), golden[f"decibels/{name}"], atol=MAX_DB_ERROR)


@pytest.mark.parametrize("name", SIGNALS)
def test_power_and_decibels_equal_librosa(librosa, name):
    reference = reference_mel(librosa, SIGNALS[name])
    assert_same_spectrogram(reference, mel.mel_power(SIGNALS[name]))
    reference_db = librosa.power_to_db(reference, ref=np.max)
    np.testing.assert_allclose(mel.mel_db(SIGNALS[name]), reference_db, atol=MAX_DB_ERROR)


@pytest.mark.parametrize("n_samples", [1, 2, 511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049, 32_256, 33_280, 65_536])
def test_every_length_equals_librosa(librosa, n_samples):
    waveform = np.resize(SIGNALS["noise"], n_samples)
    assert_same_spectrogram(reference_mel(librosa, waveform), mel.mel_power(waveform))


def test_filters_equal_librosa(librosa):
    filters = np.zeros((mel.N_BANDS, 1 + mel.N_FFT // 2), dtype=np.float32)
    for group, (low, weights) in enumerate(mel._filter_bank()):
        first = group * mel.BANDS_PER_GROUP
        filters[first : first + mel.BANDS_PER_GROUP, low : low + len(weights)] = weights.T
    reference = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=mel.N_FFT)
    np.testing.assert_allclose(filters, reference, atol=1e-6 * reference.max())


def test_a_higher_tone_is_loudest_in_a_higher_band():
    loudest = []
    for frequency in (100.0, 440.0, 1000.0, 3000.0, 9000.0):
        tone = np.sin(2 * np.pi * frequency * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
        loudest.append(int(mel.mel_power(tone)[:, 20].argmax()))
    assert loudest == sorted(set(loudest))


@pytest.mark.parametrize("frames_per_block", [1, 7, 1000])
def test_the_block_size_does_not_change_the_result(monkeypatch, frames_per_block):
    waveform = np.tile(SIGNALS["plucked_chord"], 3)
    whole = mel.mel_power(waveform)
    monkeypatch.setattr(mel, "FRAMES_PER_BLOCK", frames_per_block)
    np.testing.assert_allclose(mel.mel_power(waveform), whole, atol=1e-6 * whole.max())


def test_memory_is_bounded():
    waveform = np.tile(SIGNALS["noise"], 150)  # 5 minutes
    mel.mel_power(waveform[:1000])  # the filters are built before the count begins
    tracemalloc.start()
    try:
        power = mel.mel_power(waveform)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < power.nbytes + 4 * 2**20


def test_threads_share_read_only_filters():
    mel._filter_bank.cache_clear()
    mel._hann.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        spectrograms = list(pool.map(mel.mel_power, [SIGNALS["sweep"]] * 8))
    for spectrogram in spectrograms[1:]:
        np.testing.assert_array_equal(spectrogram, spectrograms[0])
    assert not mel._hann().flags.writeable
    assert not any(weights.flags.writeable for _, weights in mel._filter_bank())


def test_the_input_is_not_changed_and_its_layout_does_not_matter():
    waveform = np.tile(SIGNALS["sweep"], 3)
    waveform.flags.writeable = False
    power = mel.mel_power(waveform)
    np.testing.assert_array_equal(mel.mel_power(np.repeat(waveform, 2)[::2]), power)
    np.testing.assert_array_equal(mel.mel_power(waveform.astype(np.float64)), power)


def test_no_samples_are_refused():
    with pytest.raises(EmptyAudio):
        mel.mel_power(np.zeros(0, dtype=np.float32))


@pytest.mark.parametrize("bad_value", [np.nan, np.inf, -np.inf])
def test_non_finite_samples_are_refused(bad_value):
    waveform = SIGNALS["noise"].copy()
    waveform[300] = bad_value
    with pytest.raises(InvalidParameter, match="finite"):
        mel.mel_power(waveform)


def test_stereo_is_refused():
    with pytest.raises(InvalidParameter, match="mono"):
        mel.mel_power(np.zeros((2, 1000), dtype=np.float32))


def test_heavy_packages_are_not_imported():
    script = (
        "import sys, numpy; from ccmusic.features.mel import mel_db; mel_db(numpy.ones(3000, 'f4'));"
        "print(sorted({'scipy', 'librosa', 'numba', 'torch', 'av', 'PIL'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
