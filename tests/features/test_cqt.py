"""The constant-Q transform against librosa's: golden arrays everywhere, librosa itself where it is installed."""

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
from ccmusic.features import cqt
from ccmusic.features.spectrogram import power_to_db

DATA = Path(__file__).parent.parent / "data"
SIGNALS: dict[str, np.ndarray] = runpy.run_path(str(DATA / "signals.py"))["computed_signals"]()

# What is promised is 1e-3 of the largest value and 0.1 dB; what is reached is 1e-6 and mostly 0.001 dB (0.02 dB where
# the waveform's loudest part lies above the top bin, which is rounding). Stricter tests than the promise leave room for
# other BLAS and soxr builds, none for an error in the method.
MAX_RELATIVE_ERROR = 1e-4
MAX_DB_ERROR = 0.05
COMPARED_BELOW_MAX_DB = 60.0


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(DATA / "cqt_golden.npz") as arrays:
        return dict(arrays)


def reference_cqt(librosa, waveform: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "n_fft is too large for input signal"
        return np.abs(librosa.cqt(waveform, sr=cqt.SAMPLE_RATE))


def assert_same_spectrogram(reference: np.ndarray, estimated: np.ndarray) -> None:
    assert estimated.shape == reference.shape
    assert estimated.dtype == np.float32
    largest = reference.max()
    assert np.abs(estimated - reference).max() <= MAX_RELATIVE_ERROR * largest
    loud = reference > largest * 10 ** (-COMPARED_BELOW_MAX_DB / 20)
    db_error = 20 * np.abs(np.log10(estimated[loud].astype(np.float64) / reference[loud]))
    assert db_error.max(initial=0.0) <= MAX_DB_ERROR


@pytest.mark.parametrize("name", SIGNALS)
def test_magnitude_equals_golden(golden, name):
    assert_same_spectrogram(golden[f"magnitude/{name}"], cqt.cqt_magnitude(SIGNALS[name]))


@pytest.mark.parametrize("name", ["plucked_chord", "very_quiet", "silence"])
def test_decibels_equal_golden(golden, name):
    reference = golden[f"decibels/{name}"]
    np.testing.assert_allclose(power_to_db(golden[f"magnitude/{name}"] ** 2), reference, atol=1e-4)
    np.testing.assert_allclose(cqt.cqt_db(SIGNALS[name]), reference, atol=0.05)  # also at -80 dB, where rounding shows


@pytest.mark.parametrize("name", SIGNALS)
def test_magnitude_equals_librosa(librosa, name):
    assert_same_spectrogram(reference_cqt(librosa, SIGNALS[name]), cqt.cqt_magnitude(SIGNALS[name]))


@pytest.mark.parametrize("n_samples", [1, 2, 3, 63, 64, 127, 255, 256, 257, 511, 512, 513, 1023, 6615, 11_687, 131_073])
def test_every_length_equals_librosa(librosa, n_samples):
    waveform = np.resize(SIGNALS["noise"], n_samples)
    assert_same_spectrogram(reference_cqt(librosa, waveform), cqt.cqt_magnitude(waveform))


def test_tone_is_loudest_in_its_bin():
    for bin_index in (12, 45, 83):
        frequency = cqt.FMIN * 2 ** (bin_index / cqt.BINS_PER_OCTAVE)
        tone = np.sin(2 * np.pi * frequency * np.arange(cqt.SAMPLE_RATE * 2) / cqt.SAMPLE_RATE).astype(np.float32)
        middle = cqt.cqt_magnitude(tone)[:, 40]
        assert middle.argmax() == bin_index


@pytest.mark.parametrize("block_samples", [1, 2**10, 2**13, 2**25])
def test_the_block_size_does_not_change_the_result(monkeypatch, block_samples):
    waveform = np.tile(SIGNALS["plucked_chord"], 5)
    whole = cqt.cqt_magnitude(waveform)
    monkeypatch.setattr(cqt, "BLOCK_SAMPLES", block_samples)
    np.testing.assert_allclose(cqt.cqt_magnitude(waveform), whole, atol=1e-6 * whole.max())


@pytest.mark.parametrize("halved_samples", [1, 999, 2**14])
def test_halving_in_blocks_does_not_change_the_result(monkeypatch, halved_samples):
    whole = cqt.cqt_magnitude(SIGNALS["noise"])
    monkeypatch.setattr(cqt, "HALVED_SAMPLES", halved_samples)
    np.testing.assert_array_equal(cqt.cqt_magnitude(SIGNALS["noise"]), whole)


def test_memory_is_bounded_by_the_waveform():
    waveform = np.tile(SIGNALS["noise"], 150)  # 5 minutes
    cqt.cqt_magnitude(waveform[:1000])  # the filters are built before the count begins
    tracemalloc.start()
    try:
        magnitude = cqt.cqt_magnitude(waveform)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < magnitude.nbytes + 0.5 * waveform.nbytes + 4 * 2**20  # 0.5: one halved waveform


def test_threads_share_one_read_only_filter_bank():
    cqt._filter_bank.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        spectrograms = list(pool.map(cqt.cqt_magnitude, [SIGNALS["sweep"]] * 8))
    for spectrogram in spectrograms[1:]:
        np.testing.assert_array_equal(spectrogram, spectrograms[0])
    assert not cqt._filter_bank().flags.writeable


def test_the_input_is_not_changed():
    waveform = SIGNALS["noise"].copy()
    waveform.flags.writeable = False
    cqt.cqt_db(waveform)


def test_the_memory_layout_does_not_matter():
    waveform = np.tile(SIGNALS["sweep"], 15)  # long enough for blocks that need no zeros at their ends
    strided = np.repeat(waveform, 2)[::2]
    np.testing.assert_array_equal(cqt.cqt_magnitude(strided), cqt.cqt_magnitude(waveform))
    np.testing.assert_array_equal(cqt.cqt_magnitude(waveform.astype(np.float64)), cqt.cqt_magnitude(waveform))


def test_no_samples_are_refused():
    with pytest.raises(EmptyAudio):
        cqt.cqt_magnitude(np.zeros(0, dtype=np.float32))


@pytest.mark.parametrize("bad_value", [np.nan, np.inf, -np.inf])
def test_non_finite_samples_are_refused(bad_value):
    waveform = SIGNALS["noise"].copy()
    waveform[300] = bad_value  # between two frames of the top octave
    with pytest.raises(InvalidParameter, match="finite"):
        cqt.cqt_magnitude(waveform)


def test_stereo_is_refused():
    with pytest.raises(InvalidParameter, match="mono"):
        cqt.cqt_magnitude(np.zeros((2, 1000), dtype=np.float32))


def test_heavy_packages_are_not_imported():
    script = (
        "import sys, numpy; from ccmusic.features.cqt import cqt_db; cqt_db(numpy.ones(3000, 'f4'));"
        "print(sorted({'scipy', 'librosa', 'numba', 'torch', 'av'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
