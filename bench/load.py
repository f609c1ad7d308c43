"""Clients and probers in their own processes, so that they use no time of the service."""

from __future__ import annotations

import http.client
import io
import json
import math
import multiprocessing
import os
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ccmusic.models.golden import SIGNALS

CLIENT_NICENESS = 5
EXAMPLES = Path(__file__).parents[1] / "examples"
PROBES = ("/health", "/livez", "/readyz")
CONTEXT = multiprocessing.get_context("spawn")


def encoded(waveform: np.ndarray, form: str) -> bytes:
    """A recording at 22,050 Hz."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, 22050, format=form)
    return buffer.getvalue()


def recordings() -> dict[str, bytes]:
    """A mix of short recordings, computed and from `examples/`."""
    time_axis = np.arange(22050) / 22050
    mix = {"tone, 1 s WAV": encoded((0.5 * np.sin(2 * np.pi * 440 * time_axis)).astype(np.float32), "WAV")}
    for name, signal in SIGNALS.items():
        mix[f"{name}, 3 s WAV"] = encoded(signal(3.0), "WAV")
        mix[f"{name}, 10 s OGG"] = encoded(signal(10.0), "OGG")
    for path in sorted(EXAMPLES.glob("*.ogg"))[:3]:
        mix[f"examples/{path.name}"] = path.read_bytes()
    return mix


def told(body: bytes) -> dict[str, Any]:
    """An answer without the fields that may differ between requests."""
    answer: dict[str, Any] = json.loads(body)
    return {name: value for name, value in answer.items() if name not in ("timings", "request_id")}


def ask(connection: http.client.HTTPConnection, recording: bytes) -> tuple[int, bytes]:
    """Classify one recording: status and body."""
    connection.request("POST", "/v1/classify?top_k=16", recording, {"Content-Type": "application/octet-stream"})
    response = connection.getresponse()
    return response.status, response.read()


def references(address: str, mix: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """The current answers of the service."""
    connection = http.client.HTTPConnection(address, timeout=120)
    found = {}
    for name, recording in mix.items():
        status, body = ask(connection, recording)
        if status != 200:
            raise SystemExit(f"{name}: {status} {body.decode()}")
        found[name] = told(body)
    connection.close()
    return found


def clients(
    address: str,
    mix: dict[str, bytes],
    expected: dict[str, dict[str, Any]],
    concurrency: int,
    stop: Event,
    results: Queue[Any],
) -> None:
    """Run `concurrency` clients in closed loops over the mix; counts go to `results`."""
    os.nice(CLIENT_NICENESS)
    lock = threading.Lock()
    served: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    wrong: Counter[str] = Counter()

    def send(offset: int) -> None:
        names = list(mix)
        connection = http.client.HTTPConnection(address, timeout=300)
        turn = offset
        while not stop.is_set():
            name = names[turn % len(names)]
            turn += 1
            kind = None
            right = True
            try:
                status, body = ask(connection, mix[name])
                if status == 200:
                    right = told(body) == expected[name]
                else:
                    kind = f"{status} {json.loads(body).get('type', '')}"
            except Exception as error:  # no answer, for any reason
                kind = type(error).__name__
                connection.close()
            with lock:
                if kind is None:
                    served[name] += 1
                    wrong[name] += not right
                else:
                    errors[kind] += 1
        connection.close()

    _in_threads([lambda i=i: send(i) for i in range(concurrency)])
    results.put({"served": dict(served), "errors": dict(errors), "wrong": wrong.total()})


def probers(address: str, per_second: float, stop: Event, results: Queue[Any]) -> None:
    """Request each probe at a fixed rate, over new and kept connections; record times and answers other than 200."""
    taken: dict[tuple[str, str], list[float]] = {(path, kind): [] for path in PROBES for kind in ("new", "kept")}
    reds: list[str] = []

    def probe(path: str, kind: str, phase: float) -> None:
        connection = http.client.HTTPConnection(address, timeout=10)
        begun = time.monotonic() + phase
        count = 0
        while not stop.wait(max(0.0, begun + count / per_second - time.monotonic())):
            count += 1
            asked = time.perf_counter()
            try:
                connection.request("GET", path, headers={"Connection": "close"} if kind == "new" else {})
                response = connection.getresponse()
                body = response.read()
                if response.status != 200:
                    reds.append(f"{path}: {response.status} {body[:300].decode('utf-8', 'replace')}")
            except Exception as error:  # a probe without an answer counts as failed
                reds.append(f"{path}: {type(error).__name__}: {error}")
                connection.close()
            taken[path, kind].append(time.perf_counter() - asked)
            if kind == "new":
                connection.close()
        connection.close()

    # spread over the period, so that they do not affect each other
    places = list(taken)
    step = 1 / per_second / len(places)
    _in_threads([lambda p=p, k=k, i=i: probe(p, k, i * step) for i, (p, k) in enumerate(places)])
    results.put({"seconds": taken, "reds": reds})


def _in_threads(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Background:
    """A function of this module in its own process, until it is stopped."""

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self._stop = CONTEXT.Event()
        self._results: Queue[Any] = CONTEXT.Queue()
        self._process = CONTEXT.Process(target=work, args=(*arguments, self._stop, self._results), daemon=True)
        self._process.start()

    def stop(self) -> Any:
        """Stop it and return its results."""
        self._stop.set()
        found = self._results.get()
        self._process.join()
        return found


def spread(values: list[float], digits: int = 2) -> str:
    """Median (min to max)."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def rank(values: list[float], share: float) -> float:
    """The nearest-rank percentile."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def machine() -> str:
    """Description of the machine."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    cores, usable = os.cpu_count(), len(os.sched_getaffinity(0))
    count = f"{cores} cores" if usable == cores else f"{usable} of {cores} cores"
    return f"{count} ({model[1] if model else 'model unknown'})"
