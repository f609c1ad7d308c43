"""Measures the effect of precisions and runtimes on a checkpoint's answers, time and memory; prints Markdown tables.

Usage: ``python bench/precisions.py STEP --work DIR --checkpoint save.pt --calibrate AUDIO ... --compare AUDIO ...``,
with the extras ``import`` and ``openvino`` installed, and the package nncf for ``--nncf``. AUDIO are recordings or
directories of them; the two lists must not share recordings. DIR keeps networks and windows between the steps:

* ``recipes`` quantises with several settings and compares each result with float32;
* ``networks`` compares every precision in every runtime;
* ``speed`` measures their times alternately, so that other load on the machine affects all of them;
* ``memory`` loads each in a process of its own.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read at import

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ccmusic.audio.formats import AUDIO_SUFFIXES
from ccmusic.checkpoints import architectures
from ccmusic.checkpoints.precision import measure
from ccmusic.checkpoints.quantize import Quantisation, activation_ranges, quantize
from ccmusic.checkpoints.real_windows import real_windows
from ccmusic.checkpoints.state_dict import read_state_dict, recognise
from ccmusic.genres import LABELS
from ccmusic.inference.backend import Backend
from ccmusic.inference.onnx_runtime import OnnxBackend
from ccmusic.inference.openvino import OpenVinoBackend
from ccmusic.models.card import Card
from ccmusic.models.card_parts import Calibration, Drawing, Features, GoldenClip, Training

FLOAT, INT8, NNCF = "float32.onnx", "int8.onnx", "nncf.onnx"

NETWORKS: dict[str, tuple[str, str, str]] = {
    "ONNX Runtime float32": ("onnxruntime", "float32", FLOAT),
    "ONNX Runtime int8": ("onnxruntime", "int8", INT8),
    "OpenVINO float32": ("openvino", "float32", FLOAT),
    "OpenVINO bfloat16": ("openvino", "bfloat16", FLOAT),
    "OpenVINO int8, the same file": ("openvino", "int8", INT8),
    "ONNX Runtime int8, by NNCF": ("onnxruntime", "int8", NNCF),
    "OpenVINO int8, by NNCF": ("openvino", "int8", NNCF),
}
"""Runtime, precision and file of each."""

RECIPES: dict[str, Quantisation] = {
    "the default": Quantisation(),
    "last layer in integers too": Quantisation(last_in_float=False),
    "signed activations": Quantisation(signed_activations=True),
    "one scale for all channels": Quantisation(per_channel=False),
    "weights of 7 bits (reduced range)": Quantisation(reduced_range=True),
    "first layer in integers too": Quantisation(first_in_float=False),
    "range of 99.99 % of the values": Quantisation(percentile=99.99),
}
BATCHES = (1, 4, 8)


def draft(spectrogram: str) -> Card:
    """A card that only defines the windows."""
    return Card(
        name="bench",
        version="1",
        description="",
        file=FLOAT,
        sha256="0" * 64,
        labels=LABELS,
        features=Features(kind=f"{spectrogram}_db"),
        drawing=Drawing(),
        placing="upstream",
        window_seconds=11.4,
        uncertain_below=0.5,
        calibration=(Calibration(seconds=11.4, temperature=1.0),),
        golden=(GoldenClip(signal="chords", seconds=10.0, logits=(0.0,) * len(LABELS)),),
        licence="",
        training=Training(data="", label_source="", method=""),
        metrics={},
    )


def files(paths: list[Path]) -> list[Path]:
    found = (sorted(path.rglob("*")) if path.is_dir() else [path] for path in paths)
    return [path for paths in found for path in paths if path.suffix.lower() in AUDIO_SUFFIXES]


def prepared(arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """The windows of both lists; writes them and the networks to the work directory the first time."""
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    windows_file = work / "windows.npz"
    if not (work / FLOAT).exists():
        state = read_state_dict(arguments.checkpoint)
        checkpoint = recognise(arguments.checkpoint, state, arguments.spectrogram)
        (work / FLOAT).write_bytes(architectures.build_onnx(checkpoint.backbone, state, checkpoint.n_labels))
    if not windows_file.exists():
        card = draft(arguments.spectrogram)
        lists = {"calibrate": (arguments.calibrate, 112), "compare": (arguments.compare, 216)}
        windows = {name: real_windows(card, files(paths), count) for name, (paths, count) in lists.items()}
        np.savez(windows_file, **windows)
    with np.load(windows_file) as stored:
        windows = dict(stored)
    if not (work / INT8).exists():
        started = time.perf_counter()
        (work / INT8).write_bytes(quantize((work / FLOAT).read_bytes(), windows["calibrate"]))
        print(f"quantised in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    if arguments.nncf and not (work / NNCF).exists():
        (work / NNCF).write_bytes(by_nncf((work / FLOAT).read_bytes(), windows["calibrate"]))
    return windows


def by_nncf(model: bytes, pictures: np.ndarray) -> bytes:
    import nncf
    import onnx

    network = onnx.load_model_from_string(model)
    dataset = nncf.Dataset(pictures, lambda picture: {"picture": picture[None]})
    quantised: bytes = nncf.quantize(network, dataset, subset_size=len(pictures)).SerializeToString()
    return quantised


def open_network(name: str, work: Path, threads: int) -> Backend:
    runtime, precision, file = NETWORKS[name]
    model = (work / file).read_bytes()
    if runtime == "openvino":
        return OpenVinoBackend(model, len(LABELS), threads, precision)  # type: ignore[arg-type]
    return OnnxBackend(model, len(LABELS), threads, input_name="picture")


def available(work: Path) -> list[str]:
    return [name for name, (_, _, file) in NETWORKS.items() if (work / file).exists()]


class CachedBackend:
    """The float32 network; its answers to the same windows are computed once."""

    def __init__(self, backend: Backend) -> None:
        self.name, self._backend = backend.name, backend
        self._cache: dict[bytes, np.ndarray] = {}

    def logits(self, windows: np.ndarray) -> np.ndarray:
        if len(windows) == 1:  # single windows are timed
            return self._backend.logits(windows)
        key = windows.tobytes()
        if key not in self._cache:
            self._cache[key] = self._backend.logits(windows)
        return self._cache[key]


def print_comparison(title: str, reference: Backend, candidate: Backend, pictures: np.ndarray, threads: int) -> None:
    found = measure(reference, candidate, pictures, threads)
    print(
        f"| {title} | {100 * found.top1:.1f} % | {found.mean_probability_shift:.5f} | {found.max_logit_error:.3f} "
        f"| {found.milliseconds:.0f} | {found.milliseconds_float32:.0f} |",
        flush=True,
    )


HEADING = (
    "| | same top genre | mean change of a probability | largest logit error | ms per window "
    "| float32 in the same measurement, ms |\n"
    "|---|---|---|---|---|---|"
)


def recipes(arguments: argparse.Namespace) -> None:
    windows, work = prepared(arguments), arguments.work
    model = (work / FLOAT).read_bytes()
    reference = CachedBackend(open_network("ONNX Runtime float32", work, arguments.threads))
    print(HEADING)
    ranges: dict[float | None, dict[str, tuple[float, float]]] = {}
    for title, how in RECIPES.items():
        if how.percentile not in ranges:
            ranges[how.percentile] = activation_ranges(model, windows["calibrate"], how.percentile)
        quantised = quantize(model, windows["calibrate"], how, ranges=ranges[how.percentile])
        candidate = OnnxBackend(quantised, len(LABELS), arguments.threads, input_name="picture")
        print_comparison(title, reference, candidate, windows["compare"], arguments.threads)


def networks(arguments: argparse.Namespace) -> None:
    windows, work = prepared(arguments), arguments.work
    reference = CachedBackend(open_network("ONNX Runtime float32", work, arguments.threads))
    print(HEADING)
    for name in available(work)[1:]:
        print_comparison(
            name, reference, open_network(name, work, arguments.threads), windows["compare"], arguments.threads
        )


def alternate(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()  # the first answer for a batch size allocates memory
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def speed(arguments: argparse.Namespace) -> None:
    pictures = prepared(arguments)["compare"][: max(BATCHES)]
    rows = {}
    for threads in (1, 2):
        backends = {name: open_network(name, arguments.work, threads) for name in available(arguments.work)}
        for batch in BATCHES:
            runs = {name: lambda b=backend, n=batch: b.logits(pictures[:n]) for name, backend in backends.items()}
            for name, seconds in alternate(runs, arguments.rounds).items():
                each = sorted(1000 * value / batch for value in seconds)
                cell = f"{statistics.median(each):.0f} ({each[0]:.0f}-{each[-1]:.0f})"
                rows.setdefault(name, []).append(cell)
                print(f"{threads} threads, batch {batch}, {name}: {cell}", file=sys.stderr, flush=True)
    columns = [f"{threads} x {batch}" for threads in (1, 2) for batch in BATCHES]
    print(f"| threads x batch | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")


def memory(arguments: argparse.Namespace) -> None:
    prepared(arguments)
    print("| MB (Pss) | libraries loaded | network loaded | after a batch of 8 | peak (RSS) |\n|---|---|---|---|---|")
    for name in available(arguments.work):
        command = [sys.executable, __file__, "one", "--work", str(arguments.work), "--network", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        libraries, loaded, after, peak = json.loads(done.stdout.splitlines()[-1])
        print(f"| {name} | {libraries:.0f} | {loaded:.0f} | {after:.0f} | {peak:.0f} |", flush=True)


def pss_megabytes() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


def one(arguments: argparse.Namespace) -> None:
    """Print the memory for loading and running one network; runs in a process of its own."""
    import resource

    if NETWORKS[arguments.network][0] == "openvino":
        import_openvino()
    libraries = pss_megabytes()
    backend = open_network(arguments.network, arguments.work, 1)
    loaded = pss_megabytes()
    for batch in BATCHES:
        backend.logits(np.zeros((batch, 3, 224, 224), np.float32))
    after = pss_megabytes()
    print(json.dumps([libraries, loaded, after, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000]))


def import_openvino() -> None:
    from ccmusic.inference.openvino import _import_openvino

    _import_openvino("float32").Core()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = {"recipes": recipes, "networks": networks, "speed": speed, "memory": memory, "one": one}
    parser.add_argument("step", choices=steps)
    parser.add_argument("--checkpoint", type=Path, help="a save.pt of ccMusic")
    parser.add_argument("--spectrogram", choices=("cqt", "mel"), default="cqt")
    parser.add_argument("--calibrate", type=Path, nargs="+", help="recordings for the calibration of the quantisation")
    parser.add_argument("--compare", type=Path, nargs="+", help="other recordings, on which the answers are compared")
    parser.add_argument("--work", type=Path, required=True, help="directory for networks and windows")
    parser.add_argument("--nncf", action="store_true", help="also quantise with NNCF: slow, and needs 6 GB of memory")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7, help="for `speed`")
    parser.add_argument("--network", choices=NETWORKS, help="for the step `one`, which `memory` runs")
    arguments = parser.parse_args()
    steps[arguments.step](arguments)


if __name__ == "__main__":
    main()
