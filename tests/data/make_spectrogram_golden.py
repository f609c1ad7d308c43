"""Write ``cqt_golden.npz`` and ``mel_golden.npz``: librosa's spectrograms of ``signals.py``, for tests without librosa.

Usage: ``python tests/data/make_spectrogram_golden.py`` with librosa 0.11 installed. Needed again only when the signals
change.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import librosa
import numpy as np
from signals import SAMPLE_RATE, computed_signals

SIGNALS_IN_DECIBELS = ("plucked_chord", "very_quiet", "silence")


def cqt_arrays(signals: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    arrays = {}
    for name, waveform in signals.items():
        magnitude = np.abs(librosa.cqt(waveform, sr=SAMPLE_RATE))
        arrays[f"magnitude/{name}"] = magnitude
        if name in SIGNALS_IN_DECIBELS:
            arrays[f"decibels/{name}"] = librosa.power_to_db(magnitude**2, ref=np.max)
    return arrays


def mel_arrays(signals: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    arrays = {}
    for name, waveform in signals.items():
        power = librosa.feature.melspectrogram(y=waveform, sr=SAMPLE_RATE)
        arrays[f"power/{name}"] = power
        if name in SIGNALS_IN_DECIBELS:
            arrays[f"decibels/{name}"] = librosa.power_to_db(power, ref=np.max)
    return arrays


def write(name: str, arrays: dict[str, np.ndarray]) -> None:
    path = Path(__file__).with_name(name)
    np.savez_compressed(path, librosa_version=np.array(librosa.__version__), **arrays)
    print(f"{path.name}: {len(arrays)} arrays, {path.stat().st_size / 1024:.0f} KB, librosa {librosa.__version__}")


def main() -> None:
    signals = computed_signals()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "n_fft is too large", for the short ones
        write("cqt_golden.npz", cqt_arrays(signals))
        write("mel_golden.npz", mel_arrays(signals))


if __name__ == "__main__":
    main()
