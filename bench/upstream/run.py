r"""The original app's road against ours, on the same clips, in turn, each in a process of its own.

    python bench/upstream/run.py --checkpoint vgg19_bn_cqt/save.pt --model MODEL_DIRECTORY \
        [--rounds 7] [--write docs/upstream-speed.md]

The checkpoint is what the original loads; the model directory is what `ccmusic models import` made of it. torch takes
as many threads as it likes; ours is shown with one thread, as a worker of the service has, and with as many as cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from road import mp3

HERE = Path(__file__).parent
STAGES = {
    "original": ("load model", "decode, resample", "features", "draw", "network"),
    "ours": ("decode", "resample", "features", "inference"),
}


class Road:
    """A process that answers recordings."""

    def __init__(self, name: str, program: str, *arguments: str) -> None:
        self.name = name
        self.kind = "original" if program == "original_road.py" else "ours"
        self.answers: dict[str, list[dict]] = {}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / program), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{name} did not start")

    def ask(self, clip: str, path: Path) -> None:
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        answer["stages"].setdefault("total", sum(answer["stages"].values()))
        self.answers.setdefault(clip, []).append(answer)

    def milliseconds(self, clip: str, stage: str) -> np.ndarray:
        return 1000 * np.array([answer["stages"].get(stage, 0.0) for answer in self.answers[clip][1:]])  # 1st: warm-up

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def spread(values: np.ndarray) -> str:
    return f"{statistics.median(values):.0f} ({values.min():.0f} to {values.max():.0f})"


def report(roads: list[Road], clips: list[str], rounds: int) -> str:
    lines = []
    for clip in clips:
        lines += [f"## {clip}, {rounds} rounds, milliseconds: median (lowest to highest)", ""]
        for kind, title in (("original", "the original's road"), ("ours", "our road")):
            stages = (*STAGES[kind], "total")
            lines += [f"| {title} | {' | '.join(stages)} |", "| --- " * (len(stages) + 1) + "|"]
            for road in roads:
                if road.kind == kind:
                    cells = [spread(road.milliseconds(clip, stage)) for stage in stages]
                    lines.append(f"| {road.name} | {' | '.join(cells)} |")
            lines.append("")
        originals = [road for road in roads if road.kind == "original"]
        lines += [f"| times faster than | {' | '.join(road.name for road in originals)} |", "| --- " * 3 + "|"]
        for road in roads:
            if road.kind == "ours":
                # of the same round, so that what else the machine did weighs on both
                ratios = [theirs.milliseconds(clip, "total") / road.milliseconds(clip, "total") for theirs in originals]
                cells = [f"{np.median(r):.1f} ({r.min():.1f} to {r.max():.1f})" for r in ratios]
                lines.append(f"| {road.name} | {' | '.join(cells)} |")
        labels = {road.name: road.answers[clip][0] for road in roads}
        votes = {name: answer.get("majority", answer["label"]) for name, answer in labels.items()}
        lines += ["", f"Genre by vote of the windows: {votes}", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clips", type=int, nargs="+", default=[30, 240], metavar="SECONDS")
    parser.add_argument("--precisions", nargs="+", default=["float32", "int8"])
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    cores = str(len(os.sched_getaffinity(0)))
    checkpoint = str(options.checkpoint)
    roads = [
        Road("reloaded", "original_road.py", checkpoint, "reload"),
        Road("not reloaded", "original_road.py", checkpoint, "keep"),
        *(
            Road(
                f"{precision}, {threads} thread{'s' * (threads != '1')}",
                "our_road.py",
                str(options.model),
                precision,
                threads,
            )
            for precision in options.precisions
            for threads in sorted({"1", cores})
        ),
    ]
    with tempfile.TemporaryDirectory() as folder:
        clips = {f"{seconds} s MP3": Path(folder) / f"{seconds}.mp3" for seconds in options.clips}
        for (clip, path), seconds in zip(clips.items(), options.clips, strict=True):
            path.write_bytes(mp3(seconds))
            for _ in range(options.rounds + 1):
                for road in roads:
                    road.ask(clip, path)
                print(
                    clip, {road.name: round(road.answers[clip][-1]["stages"]["total"], 3) for road in roads}, flush=True
                )
    text = report(roads, list(clips), options.rounds)
    for road in roads:
        road.close()
    print(text)
    if options.write:
        options.write.write_text(
            f"# Speed against the original app's road\n\nWritten by `bench/upstream/run.py`.\n\n{text}\n"
        )


if __name__ == "__main__":
    main()
