r"""Compares the speed of the original app's pipeline with ours: the same clips, alternating, in separate processes.

    python bench/upstream/run.py --checkpoint vgg19_bn_cqt/save.pt --model MODEL_DIRECTORY \
        [--rounds 7] [--write docs/upstream-speed.md]

The original loads the checkpoint; the model directory is the result of `ccmusic models import` for it. torch chooses
its own number of threads. Ours runs with one thread, like a worker of the service, and with one thread for each core.
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
from latency import mp3

HERE = Path(__file__).parent
STAGES = {
    "original": ("load model", "decode, resample", "features", "draw", "network"),
    "ours": ("decode", "resample", "features", "inference"),
}


class PipelineProcess:
    """A process that classifies recordings, and its answers."""

    def __init__(self, name: str, program: str, *arguments: str) -> None:
        self.name = name
        self.kind = "original" if program == "original_pipeline.py" else "ours"
        self.answers: dict[str, list[dict]] = {}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / program), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{name} did not start")

    def classify(self, clip: str, path: Path) -> None:
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        answer["stages"].setdefault("total", sum(answer["stages"].values()))
        self.answers.setdefault(clip, []).append(answer)

    def milliseconds(self, clip: str, stage: str) -> np.ndarray:
        return 1000 * np.array(
            [answer["stages"].get(stage, 0.0) for answer in self.answers[clip][1:]]
        )  # without the warm-up

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def spread(values: np.ndarray) -> str:
    return f"{statistics.median(values):.0f} ({values.min():.0f} to {values.max():.0f})"


def report(pipelines: list[PipelineProcess], clips: list[str], rounds: int) -> str:
    lines = []
    for clip in clips:
        lines += [f"## {clip}, {rounds} rounds, milliseconds: median (lowest to highest)", ""]
        for kind, title in (("original", "the original's pipeline"), ("ours", "our pipeline")):
            stages = (*STAGES[kind], "total")
            lines += [f"| {title} | {' | '.join(stages)} |", "| --- " * (len(stages) + 1) + "|"]
            for pipeline in pipelines:
                if pipeline.kind == kind:
                    cells = [spread(pipeline.milliseconds(clip, stage)) for stage in stages]
                    lines.append(f"| {pipeline.name} | {' | '.join(cells)} |")
            lines.append("")
        originals = [pipeline for pipeline in pipelines if pipeline.kind == "original"]
        lines += [f"| times faster than | {' | '.join(pipeline.name for pipeline in originals)} |", "| --- " * 3 + "|"]
        for pipeline in pipelines:
            if pipeline.kind == "ours":
                # within a round, so that other load on the machine affects both
                ratios = [
                    original.milliseconds(clip, "total") / pipeline.milliseconds(clip, "total")
                    for original in originals
                ]
                cells = [f"{np.median(r):.1f} ({r.min():.1f} to {r.max():.1f})" for r in ratios]
                lines.append(f"| {pipeline.name} | {' | '.join(cells)} |")
        labels = {pipeline.name: pipeline.answers[clip][0] for pipeline in pipelines}
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
    pipelines = [
        PipelineProcess("reloaded", "original_pipeline.py", checkpoint, "reload"),
        PipelineProcess("not reloaded", "original_pipeline.py", checkpoint, "keep"),
        *(
            PipelineProcess(
                f"{precision}, {threads} thread{'s' * (threads != '1')}",
                "our_pipeline.py",
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
                for pipeline in pipelines:
                    pipeline.classify(clip, path)
                totals = {each.name: round(each.answers[clip][-1]["stages"]["total"], 3) for each in pipelines}
                print(clip, totals, flush=True)
    text = report(pipelines, list(clips), options.rounds)
    for pipeline in pipelines:
        pipeline.close()
    print(text)
    if options.write:
        options.write.write_text(
            f"# Speed compared with the original app's pipeline\n\nWritten by `bench/upstream/run.py`.\n\n{text}\n"
        )


if __name__ == "__main__":
    main()
