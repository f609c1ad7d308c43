"""Measure exports and the report of a large catalogue: processor seconds, peak memory, and size of what is written.

::

    python bench/exports.py --rows 1000000 [--folder DIR] [--only csv report ...]

The rows are synthetic: answers in the ccMusic taxonomy with all labels, one in a hundred failed, and an embedding for
each. Each export runs in a process of its own, whose peak of resident memory is reported.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ccmusic.batch.catalogue import Catalogue
from ccmusic.batch.track_row import COLUMNS
from ccmusic.genres import CCMUSIC
from ccmusic.inference.result import ModelIdentity, TrackResult

EXPORTS = {
    "csv": ["export", "--format", "csv"],
    "jsonl": ["export", "--format", "jsonl"],
    "parquet": ["export", "--format", "parquet"],
    "m3u8": ["export", "--format", "m3u8"],
    "report": ["report", "--quiet"],
}
KINDS = 2000
"""Different answers; the rows repeat them."""
DIMENSIONS = 128
"""Of an embedding."""


def answers() -> list[tuple[object, ...]]:
    """The columns of an answer that do not depend on the file."""
    generator = np.random.default_rng(1)
    found = []
    for leaves in generator.dirichlet([0.2] * len(CCMUSIC.labels), KINDS):
        probabilities = {level: CCMUSIC.roll_up(leaves, level) for level in CCMUSIC.sizes}
        sure = next((level for level in CCMUSIC.sizes if probabilities[level].max() > 0.6), 0)
        model = ModelIdentity("synthetic", "1", "0" * 64)
        answer = TrackResult(model, 240.0, probabilities, (), (), sure_level=sure).as_json(top_k=16)
        del answer["windows"]
        first = answer["predictions"][0]
        sure_genre = answer["levels"][str(sure)][0]["genre"] if sure else None
        found.append((json.dumps(answer), first["genre"], first["probability"], sure, sure_genre))
    return found


def rows(n: int) -> Iterator[tuple[object, ...]]:
    generator = np.random.default_rng(2)
    kinds = answers()
    embeddings = [row.tobytes() for row in generator.normal(size=(KINDS, DIMENSIONS)).astype("<f2")]
    for number in range(1, n + 1):
        path = f"/music/artist {number // 100}/album {number // 10}/{number % 10:02d} track {number}.flac"
        answer, genre, probability, sure, sure_genre = kinds[number % KINDS]
        values = dict.fromkeys(COLUMNS) | {"id": number, "path": path.encode(), "name": path, "attempts": 1}
        if number % 100 == 0:
            values |= {"status": "failed", "error_type": "undecodable-audio", "error_detail": "The content is broken."}
        else:
            values |= {"status": "ok", "answer": answer, "genre": genre, "probability": probability, "flags": "[]"}
            values |= {"sure_level": sure, "sure_genre": sure_genre, "duration_seconds": 240.0}
            values |= {"payload": f"sha256:{number:064x}", "embedding": embeddings[number * 7 % KINDS]}
        yield tuple(values.values())


def write_catalogue(folder: Path, n: int) -> None:
    with Catalogue.open(folder) as catalogue:
        catalogue.connection.execute("PRAGMA synchronous = OFF")
        catalogue.connection.execute("BEGIN")
        places = ", ".join("?" * len(COLUMNS))
        catalogue.connection.executemany(f"INSERT INTO tracks ({', '.join(COLUMNS)}) VALUES ({places})", rows(n))
        catalogue.connection.execute("COMMIT")


CHILD = """
import resource, sys
from pathlib import Path
from ccmusic.cli import main
code = main(sys.argv[1:])
usage = resource.getrusage(resource.RUSAGE_SELF)
status = Path("/proc/self/status").read_text()
print(usage.ru_utime + usage.ru_stime, status.split("VmHWM:")[1].split()[0], file=sys.stderr)
sys.exit(code)
"""
"""Runs a command, and prints its processor seconds and its peak of resident memory in KiB. `ru_maxrss` would count the
memory of the process that started it."""


def measure(folder: Path, name: str) -> str:
    action, *options = EXPORTS[name]
    out = folder / f"out-{name}"
    command = [sys.executable, "-c", CHILD, "batch", action, str(folder), *options, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak = map(float, done.stderr.splitlines()[-1].split())
    size = sum(path.stat().st_size for path in out.iterdir()) if out.is_dir() else out.stat().st_size
    return f"| {name} | {seconds:.1f} | {peak / 1024:.0f} | {size / 1e6:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="keeps the catalogue; one that is there is used")
    parser.add_argument("--only", nargs="+", choices=EXPORTS, default=list(EXPORTS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "catalogue.sqlite3").exists():
            write_catalogue(folder, options.rows)
        print(f"{options.rows:,} rows, catalogue {(folder / 'catalogue.sqlite3').stat().st_size / 1e6:.0f} MB")
        print("| export | processor seconds | peak memory, MB | written, MB |\n|---|---|---|---|")
        for name in options.only:
            print(measure(folder, name), flush=True)


if __name__ == "__main__":
    main()
