"""Measures the difference of each converted backbone from torchvision, its size, and its time per window.

Usage: ``python bench/checkpoints.py [BACKBONE ...]``, preferably with torch installed. The weights are computed, in
full size; torchvision's logits are in ``tests/data/torchvision_golden.json``. Prints the tables of
``docs/checkpoints.md``; each backbone is measured in a process of its own.
"""

# ruff: noqa: E402 - modules of the tests are imported after their directories are on the path

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

from ccmusic.checkpoints import architectures
from ccmusic.checkpoints.state_dict import check, read_state_dict

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "data")]
from computed_weights import pictures, state

from support.state_dict_file import write_state_dict

GOLDEN = json.loads((TESTS / "data" / "torchvision_golden.json").read_text())
N_LABELS = 16
RUNS = 30


def session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def milliseconds(model: bytes, threads: int, picture: np.ndarray) -> float:
    """The shortest of many runs, because other load on the machine only makes a run longer."""
    network = session(model, threads)
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        network.run(None, {"picture": picture})
        times.append(time.perf_counter() - started)
    return 1e3 * min(times)


def convert(name: str, path: Path, expected: dict[str, architectures.Expected]) -> tuple[bytes, float, float, int]:
    """The model, the seconds for reading and for building, and the peak memory (MiB)."""
    started = time.perf_counter()
    parameters = read_state_dict(path)
    check(parameters, expected)
    read = time.perf_counter()
    model = architectures.build_onnx(name, parameters, N_LABELS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return model, read - started, time.perf_counter() - read, peak


def row(name: str, path: Path) -> str:
    expected = architectures.manifest(name, N_LABELS)
    model, read, build, peak = convert(name, path, expected)
    (logits,) = session(model, 1).run(None, {"picture": pictures()})
    errors = [f"{np.abs(logits - GOLDEN[name]['logits']).max():.1e}"]
    for framework in ("torch", "numpy"):
        if importlib.util.find_spec(framework) is None:
            errors.append("-")
            continue
        answer, _ = architectures.reference_logits(name, read_state_dict(path), pictures(), framework)
        errors.append(f"{np.abs(logits - answer).max():.1e}")
    times = [milliseconds(model, threads, pictures()[:1]) for threads in (1, 2)]
    return (
        f"| `{name}` | {len(expected)} | {architectures.n_parameters(expected):,} | {path.stat().st_size / 1e6:.1f} "
        f"| {len(model) / 1e6:.1f} | {errors[0]} | {errors[1]} | {errors[2]} "
        f"| {read:.2f} | {build:.2f} | {peak} | {times[0]:.0f} | {times[1]:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbones", nargs="*", default=list(architectures.ARCHITECTURES))
    print(f"onnxruntime {onnxruntime.__version__}, numpy {np.__version__}, torchvision {GOLDEN['torchvision']}")
    print(
        "| backbone | keys | parameters | save.pt MB | ONNX MB | error: torchvision | ours in torch | ours in NumPy "
        "| read s | build s | peak MiB | ms, 1 thread | ms, 2 threads |"
    )
    print("|---|" + "---:|" * 12)
    for name in parser.parse_args().backbones:
        with tempfile.TemporaryDirectory() as directory, multiprocessing.get_context("spawn").Pool(1) as pool:
            path = write_state_dict(Path(directory) / "save.pt", state(architectures.manifest(name, N_LABELS)))
            print(pool.apply(row, (name, path)), flush=True)


if __name__ == "__main__":
    main()
