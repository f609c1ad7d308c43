"""Start the service again and again beside busy loops: restarts of workers, failed loads and seconds until it is green.

    python bench/starts.py [--starts 50] [--loops 8] [--workers 2] [--watch 5]

Each start is a new `ccmusic serve --no-page` on a free port. The loops run at normal priority on every processor.
A slow start is no fault: every restart and every "loading failed" in the table is a false one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

POLL_SECONDS = 0.1
LIMIT_SECONDS = 600.0


@dataclass
class Start:
    """One start.

    Attributes
    ----------
    green_seconds : float
        Until /health was 200 and every worker was up.
    restarts : int
        Replaced workers until then.
    causes : list of str
        Why, and what else was wrong.
    """

    green_seconds: float = 0.0
    restarts: int = 0
    failed_loads: int = 0
    causes: list[str] = field(default_factory=list)


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Processes that only use processor time."""
    loops = [subprocess.Popen([sys.executable, "-S", "-c", "while 1: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def start_once(workers: int, watch_seconds: float) -> Start:
    """Start the service, watch it until it is green and `watch_seconds` longer, and stop it."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "ccmusic.cli", "serve", "--no-page", "--host", "127.0.0.1", "--port", "0"],
        env=os.environ | {"CCMUSIC_WORKERS": str(workers), "CCMUSIC_DRAIN_LINGER_SECONDS": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    start = Start()
    try:
        url = re.search(r"http://[\d.:]+", process.stdout.readline())[0]
        with httpx.Client(base_url=url, timeout=60) as client:
            while time.perf_counter() - began < LIMIT_SECONDS:
                body = _health(client)
                _note(start, body)
                states = [worker["state"] for worker in body.get("workers", ())]
                is_up = bool(states) and all(state in ("idle", "busy", "testing") for state in states)
                if is_up and body["status"] != "unhealthy" and not start.green_seconds:
                    start.green_seconds = time.perf_counter() - began
                if start.green_seconds and time.perf_counter() - began > start.green_seconds + watch_seconds:
                    return start
                time.sleep(POLL_SECONDS)
        start.causes.append(f"not green within {LIMIT_SECONDS:g} s")
        return start
    finally:
        process.terminate()
        process.wait()


def _health(client: httpx.Client) -> dict:
    try:
        return client.get("/health").json()
    except (httpx.TransportError, json.JSONDecodeError):
        return {}


def _note(start: Start, body: dict) -> None:
    """Record what is wrong in this answer of /health."""
    restarts = body.get("restarts", {})
    if restarts.get("total", 0) > start.restarts:
        start.restarts = restarts["total"]
        start.causes.append(f"{restarts['last']['reason']}: {restarts['last']['cause']}")
    model = body.get("checks", {}).get("model", {})
    if model.get("code") == "load_failed" and (cause := f"load failed: {model.get('cause')}") not in start.causes:
        start.failed_loads += 1
        start.causes.append(cause)


def main() -> None:
    """Print the table; the exit code is 1 if there was a false restart or a failed load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--loops", type=int, default=8, help="busy loops per core")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--watch", type=float, default=5.0, help="seconds to watch each service after it is green")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    loops = options.loops * cores
    print(f"{options.starts} starts of {options.workers} workers beside {loops} busy loops on {cores} cores")
    print("| start | green after, s | restarts | failed loads | causes |\n|---|---|---|---|---|")
    starts = []
    with busy_loops(loops):
        for number in range(1, options.starts + 1):
            start = start_once(options.workers, options.watch)
            starts.append(start)
            print(
                f"| {number} | {start.green_seconds:.1f} | {start.restarts} | {start.failed_loads} "
                f"| {'; '.join(start.causes)} |",
                flush=True,
            )
    seconds = [start.green_seconds for start in starts]
    restarts = sum(start.restarts for start in starts)
    failed_loads = sum(start.failed_loads for start in starts)
    print(
        f"\n{restarts} restarts and {failed_loads} failed loads in {len(starts)} starts; green after "
        f"{statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f}); "
        f"load of the machine at the end: {os.getloadavg()[0]:.0f}"
    )
    sys.exit(bool(restarts or failed_loads or any(start.causes for start in starts)))


if __name__ == "__main__":
    main()
