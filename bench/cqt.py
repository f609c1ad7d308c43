"""How near ``ccmusic.features.cqt`` comes to librosa's constant-Q transform, and how much sooner, on one core.

Usage: ``python bench/cqt.py [--audio DIR] [--write docs/cqt-parity.md]``, with librosa 0.11 installed.
"""

# ruff: noqa: E402 - the thread limits must be set before numpy is imported

from __future__ import annotations

import os

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_threads] = "1"  # read when numpy is imported, so set before

import argparse
import datetime
import platform
import runpy
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

warnings.simplefilter("ignore")  # librosa warns of short signals, its imports of other packages

import librosa
import numpy as np
import soxr

from ccmusic.audio.decode import decode
from ccmusic.errors import UnsupportedMedia
from ccmusic.features import cqt

SIGNALS = Path(__file__).parent.parent / "tests" / "data" / "cqt_signals.py"
COMPARED_BELOW_MAX_DB = 60.0
CLIP_SECONDS = 30
ROUNDS = 21


def reference_magnitude(waveform: np.ndarray) -> np.ndarray:
    return np.abs(librosa.cqt(waveform, sr=cqt.SAMPLE_RATE))


def signals(audio_dir: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    """The computed signals, then each recording's first 30 s and the whole of it."""
    yield from runpy.run_path(str(SIGNALS))["computed_signals"]().items()
    if audio_dir is None:
        return
    for path in sorted(audio_dir.iterdir()):
        try:
            waveform = decode(path).waveform
        except UnsupportedMedia:  # whatever else lies in the folder
            continue
        yield f"{path.name}, first {CLIP_SECONDS} s", waveform[: CLIP_SECONDS * cqt.SAMPLE_RATE]
        yield f"{path.name}, all {len(waveform) / cqt.SAMPLE_RATE:.0f} s", waveform


def parity_row(name: str, waveform: np.ndarray) -> str:
    reference, estimated = reference_magnitude(waveform), cqt.cqt_magnitude(waveform)
    largest = float(reference.max())
    if not largest:
        return f"| {name} | {np.abs(estimated).max():.1e} (absolute) | - | - |"
    relative = np.abs(estimated - reference).max() / largest
    loud = reference > largest * 10 ** (-COMPARED_BELOW_MAX_DB / 20)
    db = 20 * np.abs(np.log10(estimated[loud].astype(np.float64) / reference[loud])).max()
    reference_db = librosa.power_to_db(reference**2, ref=np.max)
    whole_road_db = np.abs(cqt.cqt_db(waveform) - reference_db).max()
    return f"| {name} | {relative:.1e} | {db:.5f} | {whole_road_db:.4f} |"


def seconds_taken(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def speed_row(seconds: int) -> str:
    """Interleaved, so that whatever else the machine does meets both alike."""
    waveform = np.random.default_rng(0).normal(scale=0.1, size=seconds * cqt.SAMPLE_RATE).astype(np.float32)
    theirs, ours = [], []
    for _ in range(ROUNDS):
        theirs.append(seconds_taken(lambda: reference_magnitude(waveform)))
        ours.append(seconds_taken(lambda: cqt.cqt_magnitude(waveform)))
    ratios = sorted(their / our for their, our in zip(theirs[1:], ours[1:], strict=True))  # the first round warms up
    quarter = len(ratios) // 4
    return (
        f"| {seconds} s | {1000 * median(theirs[1:]):.1f} ms | {1000 * median(ours[1:]):.1f} ms "
        f"| {median(ratios):.1f} | {ratios[quarter]:.1f} to {ratios[-quarter - 1]:.1f} |"
    )


def report(audio_dir: Path | None) -> Iterator[str]:
    yield "# The constant-Q transform against librosa's"
    yield ""
    yield (
        f"Written by `bench/cqt.py` on {datetime.date.today()}: librosa {librosa.__version__}, numpy {np.__version__}, "
        f"soxr {soxr.__version__}, Python {platform.python_version()}, {platform.machine()}."
    )
    yield ""
    yield "## Parity"
    yield ""
    yield "Promised: magnitudes within 1e-3 of the largest one, and within 0.1 dB where they exceed -60 dB below it."
    yield "The last column is the largest difference anywhere in what goes on to the network (dB, floored at -80)."
    yield ""
    yield "| signal | error relative to the largest | error above -60 dB, in dB | error anywhere, in dB |"
    yield "|---|---|---|---|"
    for name, waveform in signals(audio_dir):
        yield parity_row(name, waveform)
    yield ""
    yield "## Speed"
    yield ""
    yield f"One core, {ROUNDS - 1} interleaved rounds, medians; the spread is that of the middle half of the ratios."
    yield ""
    yield "| waveform | librosa | here | ratio | spread |"
    yield "|---|---|---|---|---|"
    yield speed_row(30)
    yield speed_row(240)
    cqt._filter_bank.cache_clear()
    yield ""
    yield f"The filters are built once per process, in {1000 * seconds_taken(cqt._filter_bank):.1f} ms."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=Path, help="a folder of recordings to compare on as well")
    parser.add_argument("--write", type=Path, help="also write the report to this Markdown file")
    arguments = parser.parse_args()
    lines = []
    for line in report(arguments.audio):
        print(line, flush=True)
        lines.append(line)
    if arguments.write:
        arguments.write.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
