"""Measure what hostile files cost a worker: peak memory above that before, processor time, wall time, answer.

    python bench/hostile.py [FILE ...] [--only NAME ...] [--json OUT.jsonl]

Without files, those of tests/support/hostile_files.py are made and measured. Each goes to a worker process as the
service starts it. If the worker ends, the next file gets a new one. For another version of the code, put its `src`
first into PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ccmusic.settings import read_settings
from support.hostile_files import HOSTILE
from support.one_worker import OneWorker

PATIENCE_SECONDS = 120.0


def main() -> None:
    """Measure each file, and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--only", nargs="*", default=list(HOSTILE), help="names of computed files")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    files: dict[str, Callable[[], bytes]] = {path.name: path.read_bytes for path in arguments.files}
    worker = OneWorker(read_settings())
    try:
        for name, make in (files or {name: HOSTILE[name] for name in arguments.only}).items():
            content = make()
            cost = worker.classify(content, PATIENCE_SECONDS)
            row = {
                "name": name,
                "bytes": len(content),
                "mb": round(cost.megabytes),
                "cpu": round(cost.processor_seconds, 2),
                "wall": round(cost.seconds, 2),
                "answer": cost.text[:160],
            }
            print("{name:36} {bytes:>11,} B {mb:>6} MB {cpu:>6} s {wall:>6} s  {answer}".format(**row), flush=True)
            if arguments.json:
                with arguments.json.open("a") as out:
                    out.write(json.dumps(row) + "\n")
    finally:
        worker.stop()


if __name__ == "__main__":
    main()
