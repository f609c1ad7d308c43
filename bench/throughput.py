"""Measure the gain of a second worker, and the time until a killed worker is replaced.

    python bench/throughput.py [--rounds 5] [--seconds 10] [--deaths 20] [--write FILE]

Two services run side by side, one with one worker and one with two; the load goes to one and then to the other, round
after round, so that what else happens on the machine happens to both. The clients are a process of their own, at a
niceness of 5.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from latency import start
from load import Background, clients, machine, rank, recordings, references, spread
from tqdm import tqdm

POLL_SECONDS = 0.005


def rate(address: str, concurrency: int, seconds: float, mix: dict[str, bytes], expected: dict[str, Any]) -> float:
    """Correct answers a second."""
    load = Background(clients, address, mix, expected, concurrency)
    time.sleep(1.5)  # until its interpreter has started and its clients send
    before, begun = answered(address), time.monotonic()
    time.sleep(seconds)
    served = (answered(address) - before) / (time.monotonic() - begun)
    found = load.stop()
    if found["wrong"] or found["errors"]:
        raise SystemExit(f"not a measurement: {found}")
    return served


def workers(connection: http.client.HTTPConnection) -> list[dict[str, Any]]:
    """The workers, from /health."""
    connection.request("GET", "/health")
    found: list[dict[str, Any]] = json.load(connection.getresponse())["workers"]
    return found


def answered(address: str) -> int:
    """Jobs answered since the start."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        return sum(int(worker["jobs"]) for worker in workers(connection))
    finally:
        connection.close()


def succession(connection: http.client.HTTPConnection) -> float:
    """Kill a worker; return the seconds until its replacement is ready."""
    while any(worker["state"] != "idle" for worker in workers(connection)):
        time.sleep(POLL_SECONDS)
    victim = workers(connection)[0]
    begun = time.perf_counter()
    os.kill(victim["pid"], signal.SIGKILL)
    while True:
        now = workers(connection)[0]
        if now["pid"] not in (victim["pid"], None) and now["state"] in ("idle", "busy", "testing"):
            return time.perf_counter() - begun
        time.sleep(POLL_SECONDS)


HEAD = """# Throughput, and time to replace a lost worker

Written by `bench/throughput.py --write`; the clients run on the same cores as the service. The deaths follow one
another as fast as the service allows, so all but the first include the pause that grows to a second; a worker that is
lost after a while is back as row P1 of the [fault matrix](fault-matrix.md) says.

"""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--deaths", type=int, default=20)
    parser.add_argument("--write", type=Path, metavar="FILE")
    options = parser.parse_args()

    mix = recordings()
    services = {count: start(["--no-page", "--workers", str(count)]) for count in (1, 2)}
    try:
        addresses = {count: url.removeprefix("http://") for count, (_, url, _) in services.items()}
        expected = references(addresses[1], mix)
        rates: dict[int, list[float]] = {1: [], 2: []}
        # disable=None: shown on a terminal only
        with tqdm(total=2 * options.rounds + options.deaths, disable=None) as bar:
            for number in range(options.rounds):
                for count in (1, 2) if number % 2 == 0 else (2, 1):
                    rates[count].append(rate(addresses[count], 4 * count, options.seconds, mix, expected))
                    bar.update()
            connection = http.client.HTTPConnection(addresses[2], timeout=30)
            seconds = []
            for _ in range(options.deaths):
                seconds.append(succession(connection))
                bar.update()
            connection.close()
    finally:
        for process, _, _ in services.values():
            process.terminate()
            process.wait()
    gains = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    page = "\n".join(
        [
            f"{machine()}; {options.rounds} rounds of {options.seconds:g} s each, alternating; median (min to max).",
            "",
            "| | |",
            "|---|---|",
            f"| answers a second, 1 worker | {spread(rates[1])} |",
            f"| answers a second, 2 workers | {spread(rates[2])} |",
            f"| 2 workers relative to 1, for each round | {spread(gains)} |",
            f"| seconds from the end of a worker until its replacement is ready, {len(seconds)} times "
            f"| p50 {rank(seconds, 0.5):.2f}, p99 {rank(seconds, 0.99):.2f}, maximum {max(seconds):.2f} |",
            "",
        ]
    )
    print(page)
    if options.write:
        options.write.write_text(HEAD + page, encoding="utf-8")


if __name__ == "__main__":
    main()
