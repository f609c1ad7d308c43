"""Our pipeline with the settings of a worker of the service; reads a path from each line of standard input."""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as `ccmusic.workers.worker_process` sets it, before numpy is imported

import json
import sys
import time
from pathlib import Path

from ccmusic.inference.backend import Execution
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.store import locate

if __name__ == "__main__":
    directory, precision, threads = sys.argv[1:4]
    pipeline = Pipeline.load(locate(directory, precision), None, Execution(int(threads)))
    print("ready", flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        result = pipeline.classify(Path(line.strip()))
        total = time.perf_counter() - started
        votes = [int(window.probabilities.argmax()) for window in result.windows]
        print(
            json.dumps(
                {
                    "label": int(result.probabilities[16].argmax()),
                    "majority": max(set(votes), key=votes.count),
                    "stages": result.timings | {"total": total},
                }
            ),
            flush=True,
        )
