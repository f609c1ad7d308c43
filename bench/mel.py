"""Compare ``ccmusic.features.mel`` with librosa's mel spectrogram: difference and time on one core.

Usage: ``python bench/mel.py [--audio DIR ...] [--write docs/mel-parity.md]``, with librosa 0.11 installed.
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
from parity import ROUNDS, command_line, publish, seconds_taken, signals, speed_row

from ccmusic.features import mel
from ccmusic.features.spectrogram import SAMPLE_RATE


def reference_power(waveform: np.ndarray) -> np.ndarray:
    return librosa.feature.melspectrogram(y=waveform, sr=SAMPLE_RATE)


def parity_row(name: str, waveform: np.ndarray) -> str:
    reference, estimated = reference_power(waveform), mel.mel_power(waveform)
    largest = float(reference.max())
    if not largest:
        return f"| {name} | {np.abs(estimated).max():.1e} (absolute) | - |"
    relative = np.abs(estimated - reference).max() / largest
    reference_db = librosa.power_to_db(reference, ref=np.max)
    return f"| {name} | {relative:.1e} | {np.abs(mel.mel_db(waveform) - reference_db).max():.5f} |"


def report(audio_dirs: list[Path]) -> Iterator[str]:
    yield "# The mel spectrogram against librosa's"
    yield ""
    yield (
        f"Written by `bench/mel.py` on {datetime.date.today()}: librosa {librosa.__version__}, numpy {np.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}."
    )
    yield ""
    yield "## Parity"
    yield ""
    yield "Requirement: power within 1e-5 of the maximum. The last column is the largest difference anywhere in the"
    yield "decibel spectrogram (floor at -80 dB)."
    yield ""
    yield "| signal | error relative to the maximum | error anywhere, in dB |"
    yield "|---|---|---|"
    for name, waveform in signals(audio_dirs):
        yield parity_row(name, waveform)
    yield ""
    yield "## Speed"
    yield ""
    yield f"One core, {ROUNDS - 1} interleaved rounds, medians; the spread is the middle half of the ratios."
    yield ""
    yield "| waveform | librosa | CCMusic | ratio | spread |"
    yield "|---|---|---|---|---|"
    yield speed_row(30, reference_power, mel.mel_power)
    yield speed_row(240, reference_power, mel.mel_power)
    mel._filter_bank.cache_clear()
    yield ""
    yield f"The filters are built once per process, in {1000 * seconds_taken(mel._filter_bank):.1f} ms."


def main() -> None:
    arguments = command_line(__doc__).parse_args()
    publish(report(arguments.audio), arguments.write)


if __name__ == "__main__":
    main()
