"""Write ``cqt_golden.npz``: librosa's answers to ``cqt_signals.py``, for machines without librosa.

Usage: ``python tests/data/make_cqt_golden.py`` with librosa 0.11 installed. Needed again only when the signals change.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import librosa
import numpy as np
from cqt_signals import SAMPLE_RATE, computed_signals

SIGNALS_IN_DECIBELS = ("plucked_chord", "very_quiet", "silence")


def main() -> None:
    arrays = {"librosa_version": np.array(librosa.__version__)}
    for name, waveform in computed_signals().items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "n_fft is too large", for the short ones
            magnitude = np.abs(librosa.cqt(waveform, sr=SAMPLE_RATE))
        arrays[f"magnitude/{name}"] = magnitude
        if name in SIGNALS_IN_DECIBELS:
            arrays[f"decibels/{name}"] = librosa.power_to_db(magnitude**2, ref=np.max)
    path = Path(__file__).with_name("cqt_golden.npz")
    np.savez_compressed(path, **arrays)
    print(f"{path.name}: {len(arrays)} arrays, {path.stat().st_size / 1024:.0f} KB, librosa {librosa.__version__}")


if __name__ == "__main__":
    main()
