"""Measure what the metrics cost: a scrape's size and time, fresh and after many requests, and what a request pays.

    python bench/scrape.py [--requests 10000] [--write docs/scrape.md]

The scrapes are of a really running service with 16 genres. What a request pays is measured on the application alone,
in this process: the same requests with and without the meter, in turn, and for comparison with
prometheus-fastapi-instrumentator instead, where that is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from load import encoded, machine, spread
from prometheus_client import CollectorRegistry
from road import start
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tqdm import tqdm

from ccmusic.genres import roll_up
from ccmusic.inference.result import STAGES, ModelIdentity, TrackResult
from ccmusic.monitoring.recording_metrics import RecordingMetrics
from ccmusic.monitoring.request_metrics import RequestMeter, RequestMetrics

CLIENTS = 8
SCRAPES = 200
ROUNDS = 9
CALLS = 2000

HEAD = """# What the metrics cost

Written by `bench/scrape.py --write`.

"""


def scrape(address: str, times: int) -> tuple[int, list[float]]:
    """Size in bytes, and milliseconds of each scrape over one kept connection."""
    connection = http.client.HTTPConnection(address, timeout=30)
    milliseconds, size = [], 0
    for _ in range(times):
        begun = time.perf_counter()
        connection.request("GET", "/metrics")
        size = len(connection.getresponse().read())
        milliseconds.append(1000 * (time.perf_counter() - begun))
    connection.close()
    return size, milliseconds


def classify(address: str, requests: int) -> None:
    """Send so many requests, of which every tenth is refused for its format."""
    sound = encoded((0.5 * np.sin(2 * np.pi * 440 * np.arange(22050) / 22050)).astype(np.float32), "WAV")
    left = iter(range(requests))
    statuses: list[int] = []
    taking = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection(address, timeout=120)
        while True:
            with taking:
                number = next(left, None)
            if number is None:
                return
            body = b"no sound" if number % 10 == 0 else sound
            connection.request("POST", "/v1/classify", body, {"Content-Type": "application/octet-stream"})
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
            bar.update()

    with tqdm(total=requests, disable=None) as bar:
        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if (found := Counter(statuses)) != {200: requests - len(range(0, requests, 10)), 415: len(range(0, requests, 10))}:
        raise SystemExit(f"not a measurement: {found}")


async def fine(_: object) -> PlainTextResponse:
    return PlainTextResponse("fine")


ROUTES = [Route("/v1/classify", fine, methods=["GET"])]
SCOPE = {
    "type": "http",
    "http_version": "1.1",
    "method": "GET",
    "path": "/v1/classify",
    "raw_path": b"/v1/classify",
    "query_string": b"",
    "root_path": "",
    "headers": [],
    "scheme": "http",
    "server": ("localhost", 80),
}


def applications() -> dict[str, Callable]:
    """The same application bare, with our meter, and with the library's."""
    bare, ours, theirs = (Starlette(routes=ROUTES) for _ in range(3))
    found = {"bare": bare, "meter": RequestMeter(ours, RequestMetrics(CollectorRegistry()), ROUTES)}
    try:
        from prometheus_fastapi_instrumentator import Instrumentator
    except ImportError:
        return found
    Instrumentator(should_group_status_codes=False, registry=CollectorRegistry()).instrument(theirs)
    return found | {"instrumentator": theirs}


async def seconds_of(app: Callable, calls: int) -> float:
    """How long so many requests take."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: object) -> None:
        return None

    begun = time.perf_counter()
    for _ in range(calls):
        await app(dict(SCOPE), receive, send)
    return time.perf_counter() - begun


def noting() -> float:
    """Milliseconds that noting one answer takes."""
    metrics = RecordingMetrics(CollectorRegistry())
    leaves = np.full(16, 1 / 16)
    result = TrackResult(
        ModelIdentity("m", "1", "a" * 64),
        30.0,
        {level: roll_up(leaves, level) for level in (16, 9, 2)},
        (),
        (),
        dict.fromkeys(STAGES, 0.01),
    )
    begun = time.perf_counter()
    for _ in range(CALLS):
        metrics.answered(result)
    return 1000 * (time.perf_counter() - begun) / CALLS


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--write", type=Path, metavar="FILE")
    options = parser.parse_args()

    process, url, _ = start(["--no-page"])
    try:
        address = url.removeprefix("http://")
        before = scrape(address, SCRAPES)
        classify(address, options.requests)
        after = scrape(address, SCRAPES)
    finally:
        process.terminate()
        process.wait()

    apps = applications()
    per_call: dict[str, list[float]] = {name: [] for name in apps}
    notes = []
    for number in range(ROUNDS):
        for name in list(apps)[:: 1 if number % 2 else -1]:
            per_call[name].append(1000 * asyncio.run(seconds_of(apps[name], CALLS)) / CALLS)
        notes.append(noting())
    rows = [
        ("scrape of a fresh service", f"{before[0] / 1024:.1f} KiB", f"{spread(before[1], 1)} ms"),
        (f"scrape after {options.requests:,} requests", f"{after[0] / 1024:.1f} KiB", f"{spread(after[1], 1)} ms"),
    ]
    for name, values in per_call.items():
        if name != "bare":
            added = [with_it - without for with_it, without in zip(values, per_call["bare"], strict=True)]
            rows.append((f"a request pays for the HTTP metrics ({name})", "", f"{spread(added, 4)} ms"))
    rows.append(("an answer pays for the recording's metrics", "", f"{spread(notes, 4)} ms"))
    page = "\n".join(
        [
            f"{machine()}; {SCRAPES} scrapes each, {ROUNDS} rounds of {CALLS} requests in turn; median (min to max).",
            "",
            "| | size | time |",
            "|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
        ]
    )
    print(page)
    if options.write:
        options.write.write_text(HEAD + page, encoding="utf-8")


if __name__ == "__main__":
    main()
