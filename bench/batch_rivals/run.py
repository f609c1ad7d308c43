r"""Compare how fast pipelines label MP3s of four minutes on one core: the same files, in turn, in own processes.

    python bench/batch_rivals/run.py --audio DIR ... [--essentia PYTHON GRAPH] [--musicnn PYTHON] \
        [--original PYTHON CHECKPOINT] [--rounds 5] [--seconds 240] [--write FILE]

Every process may use one core, the same one. Each pipeline loads its model once, unless its documented use does not.
PYTHON is the interpreter of an environment in which the rival is installed; what each needs is in its file beside this
one. The original pipeline is that of bench/upstream, whose checkpoint stays loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from identity import read
from load import machine
from robustness import Audio

HERE = Path(__file__).parent
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
KILOBITS = 192


@dataclass
class Rival:
    """A pipeline in a process of its own.

    Attributes
    ----------
    seconds, processor_seconds : list of float
        Of each recording, without the first, with which everything is loaded.
    """

    name: str
    command: list[str]
    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)

    def start(self, core: int) -> None:
        one_thread = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")}
        self.process = subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *self.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | one_thread | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{self.name} did not start")

    def label(self, path: Path, *, counts: bool) -> None:
        before, started = self._processor_seconds(), time.perf_counter()
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        json.loads(self.process.stdout.readline())
        if counts:
            self.seconds.append(time.perf_counter() - started)
            self.processor_seconds.append(self._processor_seconds() - before)

    def _processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def songs(directories: list[Path], seconds: int, folder: Path) -> list[Path]:
    """MP3s of that length; shorter recordings are repeated."""
    paths = []
    for path in sorted(path for directory in directories for path in directory.iterdir()):
        if path.suffix not in (".ogg", ".opus", ".mp3"):
            continue
        audio = read(path)
        samples = np.resize(audio.samples, (seconds * audio.rate, audio.samples.shape[1]))
        paths.append(folder / f"{path.stem}.mp3")
        paths[-1].write_bytes(Audio(samples, audio.rate).encoded("mp3", "libmp3lame", KILOBITS * 1000))
    return paths


def row(rival: Rival, ours: Rival) -> str:
    times = [theirs / own for theirs, own in zip(rival.seconds, ours.seconds, strict=True)]
    processor = statistics.median(rival.processor_seconds)
    spread = f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})"
    return (
        f"| {rival.name} | {statistics.median(rival.seconds):.3f} | {processor:.3f} "
        f"| {3600 / statistics.fmean(rival.seconds):,.0f} | {spread} |"
    )


PAGE = """# Labelling a library, compared

Written by `python bench/batch_rivals/run.py`. {machine}

{n} MP3s of {seconds} s ({kilobits} kbit/s, stereo), {rounds} rounds, on one core. The pipelines take turns, so other
load on the machine affects all. Decoding is included, loading a model is not, unless the documented use of a pipeline
loads it for each file.

| pipeline | seconds per track | processor seconds | tracks per core-hour | times as long as ours |
|---|---|---|---|---|
{rows}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--audio", type=Path, nargs="+", required=True, help="directories of recordings")
    parser.add_argument("--essentia", nargs=2, metavar=("PYTHON", "GRAPH"))
    parser.add_argument("--musicnn", metavar="PYTHON")
    parser.add_argument("--original", nargs=2, metavar=("PYTHON", "CHECKPOINT"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=240)
    parser.add_argument("--songs", type=int, default=6, help="number of recordings")
    parser.add_argument("--write", type=Path, help="the page to write")
    options = parser.parse_args()
    upstream = HERE.parent / "upstream"
    ours = Rival("ours", [sys.executable, str(HERE / "ours.py")])
    rivals = [ours]
    if options.essentia:
        python, graph = options.essentia
        rivals.append(Rival("Essentia, MusiCNN", [python, str(HERE / "essentia_musicnn.py"), graph]))
    if options.musicnn:
        rivals.append(Rival("`musicnn`", [options.musicnn, str(HERE / "musicnn_package.py")]))
    if options.original:
        python, checkpoint = options.original
        rivals.append(
            Rival("the original pipeline", [python, str(upstream / "original_pipeline.py"), checkpoint, "keep"])
        )
    core = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        paths = songs(options.audio, options.seconds, Path(folder))[: options.songs]
        for rival in rivals:
            rival.start(core)
        for number in range(options.rounds + 1):
            for path in paths if number else paths[:1]:
                for rival in rivals:
                    rival.label(path, counts=number > 0)
            print(number, {rival.name: round(rival.seconds[-1], 3) for rival in rivals if rival.seconds}, flush=True)
    for rival in rivals:
        rival.close()
    page = PAGE.format(
        machine=machine(),
        n=len(paths),
        seconds=options.seconds,
        kilobits=KILOBITS,
        rounds=options.rounds,
        rows="\n".join(row(rival, ours) for rival in rivals),
    )
    print(page)
    if options.write:
        options.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
