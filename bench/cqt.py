"""Compare ``ccmusic.features.cqt`` with librosa's constant-Q transform: difference and time on one core.

Usage: ``python bench/cqt.py [--audio DIR ...] [--write docs/cqt-parity.md]``, with librosa 0.11 installed.
"""

# ruff: noqa: E402 - the thread limits must be set before numpy is imported

from __future__ import annotations

import os

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_threads] = "1"  # read when numpy is imported, so set before

import datetime
import platform
import warnings
from collections.abc import Iterator
from pathlib import Path

warnings.simplefilter("ignore")  # librosa warns of short signals, its imports of other packages

import librosa
import numpy as np
import soxr
from parity import ROUNDS, command_line, publish, seconds_taken, signals, speed_row

from ccmusic.features import cqt

COMPARED_BELOW_MAX_DB = 60.0


def reference_magnitude(waveform: np.ndarray) -> np.ndarray:
    return np.abs(librosa.cqt(waveform, sr=cqt.SAMPLE_RATE))


def parity_row(name: str, waveform: np.ndarray) -> str:
    reference, estimated = reference_magnitude(waveform), cqt.cqt_magnitude(waveform)
    largest = float(reference.max())
    if not largest:
        return f"| {name} | {np.abs(estimated).max():.1e} (absolute) | - | - |"
    relative = np.abs(estimated - reference).max() / largest
    loud = reference > largest * 10 ** (-COMPARED_BELOW_MAX_DB / 20)
    db = 20 * np.abs(np.log10(estimated[loud].astype(np.float64) / reference[loud])).max()
    reference_db = librosa.power_to_db(reference**2, ref=np.max)
    decibel_error = np.abs(cqt.cqt_db(waveform) - reference_db).max()
    return f"| {name} | {relative:.1e} | {db:.5f} | {decibel_error:.4f} |"


def report(audio_dirs: list[Path]) -> Iterator[str]:
    yield "# The constant-Q transform against librosa's"
    yield ""
    yield (
        f"Written by `bench/cqt.py` on {datetime.date.today()}: librosa {librosa.__version__}, numpy {np.__version__}, "
        f"soxr {soxr.__version__}, Python {platform.python_version()}, {platform.machine()}."
    )
    yield ""
    yield "## Parity"
    yield ""
    yield "Requirement: magnitudes within 1e-3 of the maximum, and within 0.1 dB down to 60 dB below it."
    yield "The last column is the largest difference anywhere in the decibel spectrogram (floor at -80 dB)."
    yield ""
    yield "| signal | error relative to the maximum | error above -60 dB, in dB | error anywhere, in dB |"
    yield "|---|---|---|---|"
    for name, waveform in signals(audio_dirs):
        yield parity_row(name, waveform)
    yield ""
    yield "## Speed"
    yield ""
    yield f"One core, {ROUNDS - 1} interleaved rounds, medians; the spread is the middle half of the ratios."
    yield ""
    yield "| waveform | librosa | CCMusic | ratio | spread |"
    yield "|---|---|---|---|---|"
    yield speed_row(30, reference_magnitude, cqt.cqt_magnitude)
    yield speed_row(240, reference_magnitude, cqt.cqt_magnitude)
    cqt._filter_bank.cache_clear()
    yield ""
    yield f"The filters are built once per process, in {1000 * seconds_taken(cqt._filter_bank):.1f} ms."


def main() -> None:
    arguments = command_line(__doc__).parse_args()
    publish(report(arguments.audio), arguments.write)


if __name__ == "__main__":
    main()
