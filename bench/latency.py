"""Measure the service: seconds to /health 200, memory, and milliseconds by stage for a 30 s and a 240 s MP3.

    python bench/latency.py [--repeats 7] [--no-page] [--recording FILE ...]

The recordings are computed (alternating plucked chords and a beat) and encoded as MP3, unless files are given. The
service is started as a user starts it, on a free port.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import soundfile

from ccmusic.models.golden import SIGNALS

POLL_SECONDS = 0.05
STAGES = ("queue", "decode", "resample", "features", "inference")


def mp3(seconds: int) -> bytes:
    """A computed stereo MP3 at 44,100 Hz."""
    parts = [SIGNALS[name](10.0) for _ in range(seconds // 20 + 1) for name in ("chords", "beat")]
    mono = np.repeat(np.concatenate(parts)[: seconds * 22050], 2)  # crude doubling of the rate; good enough to time
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([mono, 0.8 * mono], axis=1), 44100, format="MP3")
    return buffer.getvalue()


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process, in MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def proportional_megabytes(pid: int) -> float:
    """Memory of a process in MB; a page that n processes share counts 1/n."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) / 1024


def descendants(pid: int) -> list[int]:
    """All processes below a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def start(arguments: list[str]) -> tuple[subprocess.Popen[str], str, dict[str, float]]:
    """Start the service; also return the seconds until the first answer, /health 200 and the page."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "ccmusic.cli", "serve", "--host", "127.0.0.1", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    url = re.search(r"http://[\d.:]+", process.stdout.readline())[0]
    marks: dict[str, float] = {}
    with httpx.Client(base_url=url, timeout=30) as client:
        while "health 200" not in marks:
            try:
                status = client.get("/health").status_code
            except httpx.TransportError:
                continue
            marks.setdefault("first answer", time.perf_counter() - began)
            if status == 200:
                marks["health 200"] = time.perf_counter() - began
            time.sleep(POLL_SECONDS)
        if "--no-page" not in arguments:
            while "gradio" not in client.get("/").text:
                time.sleep(POLL_SECONDS)
            marks["page"] = time.perf_counter() - began
    return process, url, marks


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--no-page", action="store_true")
    parser.add_argument("--recording", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    recordings = {path.name: path.read_bytes() for path in options.recording} or {
        f"{seconds} s MP3": mp3(seconds) for seconds in (30, 240)
    }
    arguments = ["--no-page"] if options.no_page else []

    starts = []
    for _ in range(options.starts - 1):
        process, _, marks = start(arguments)
        starts.append(marks)
        process.terminate()
        process.wait()
    process, url, marks = start(arguments)
    starts.append(marks)
    print(f"{os.cpu_count()} cores; {options.starts} starts, {options.repeats} requests each; median (min to max)")
    for mark in marks:
        print(f"start to {mark:13s} {spread([s[mark] for s in starts])} s")

    client = http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)
    try:
        for name, recording in recordings.items():
            walls, stages = [], []
            for _ in range(options.repeats + 1):  # the first one warms up
                began = time.perf_counter()
                client.request("POST", "/v1/classify", recording, {"Content-Type": "audio/mpeg"})
                answer = json.load(client.getresponse())
                walls.append(time.perf_counter() - began)
                stages.append(answer["timings"])
            print(f"{name} ({len(recording) / 1e6:.1f} MB), milliseconds:")
            for stage in STAGES:
                print(f"  {stage:10s} {spread([1000 * t[stage] for t in stages[1:]])}")
            print(f"  {'whole':10s} {spread([1000 * wall for wall in walls[1:]])}  as the client sees it")
        processes = [process.pid, *descendants(process.pid)]
        print("memory, MB:")
        print(f"  front process, resident            {resident_megabytes(process.pid):.0f}")
        for pid in processes[1:]:
            kind = "fork server" if descendants(pid) else "worker"
            print(f"  process below it ({kind}), resident {resident_megabytes(pid):.0f}")
        print(f"  all together, shared pages once    {sum(map(proportional_megabytes, processes)):.0f}")
    finally:
        client.close()
        process.terminate()
        process.wait()


def spread(values: list[float]) -> str:
    """Median (min to max)."""
    return f"{statistics.median(values):8.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
