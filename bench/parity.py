"""Common parts of the benchmarks against a reference: signals, recordings, interleaved timing, the report."""

from __future__ import annotations

import argparse
import runpy
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median

import numpy as np

from ccmusic.audio.decode import decode
from ccmusic.errors import UnsupportedMedia
from ccmusic.features.spectrogram import SAMPLE_RATE

SIGNALS = Path(__file__).parent.parent / "tests" / "data" / "signals.py"
CLIP_SECONDS = 30
ROUNDS = 21


def recordings(audio_dirs: Iterable[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """File name and waveform of every recording in the folders."""
    for audio_dir in audio_dirs:
        for path in sorted(audio_dir.iterdir()):
            if not path.is_file():
                continue
            try:
                yield path.name, decode(path).waveform
            except UnsupportedMedia:  # other files in the folder
                continue


def signals(audio_dirs: Iterable[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """The computed signals, then the first 30 s of each recording and all of it."""
    yield from runpy.run_path(str(SIGNALS))["computed_signals"]().items()
    for name, waveform in recordings(audio_dirs):
        yield f"{name}, first {CLIP_SECONDS} s", waveform[: CLIP_SECONDS * SAMPLE_RATE]
        yield f"{name}, all {len(waveform) / SAMPLE_RATE:.0f} s", waveform


def seconds_taken(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def speed_cells(theirs: list[float], ours: list[float]) -> str:
    """Table cells of interleaved rounds without the first: both medians, the ratio's median and its middle half."""
    theirs, ours = theirs[1:], ours[1:]
    ratios = sorted(their / our for their, our in zip(theirs, ours, strict=True))
    quarter = len(ratios) // 4
    return (
        f"{1000 * median(theirs):.1f} ms | {1000 * median(ours):.1f} ms "
        f"| {median(ratios):.1f} | {ratios[quarter]:.1f} to {ratios[-quarter - 1]:.1f}"
    )


def speed_row(
    seconds: int, reference: Callable[[np.ndarray], object], estimated: Callable[[np.ndarray], object]
) -> str:
    """A table row; the rounds are interleaved, so that other load of the machine affects both equally."""
    waveform = np.random.default_rng(0).normal(scale=0.1, size=seconds * SAMPLE_RATE).astype(np.float32)
    theirs, ours = [], []
    for _ in range(ROUNDS):
        theirs.append(seconds_taken(lambda: reference(waveform)))
        ours.append(seconds_taken(lambda: estimated(waveform)))
    return f"| {seconds} s | {speed_cells(theirs, ours)} |"


def command_line(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--audio", type=Path, nargs="+", default=[], help="folders of recordings to compare on as well")
    parser.add_argument("--write", type=Path, help="also write the report to this Markdown file")
    return parser


def publish(lines: Iterable[str], path: Path | None) -> None:
    """Print the lines as they come, and write them to the file at the end."""
    kept = []
    for line in lines:
        print(line, flush=True)
        kept.append(line)
    if path:
        path.write_text("\n".join(kept) + "\n", encoding="utf-8")
