"""Saturate the real service for an hour and observe its probes: no false alarm is allowed.

    python bench/soak.py [--minutes 60] [--beside 10] [--concurrency N] [--no-page] [--remark TEXT] [--write FILE]

With `--beside MINUTES` a second service is saturated beside eight busy loops per processor at normal priority.

Probes that fail without a cause, workers that are replaced without a cause and answers that differ from the first ones
are counted. All three must be 0; otherwise the exit code is 1. Clients and probers run in their own processes, the
clients at a niceness of 5.
"""

from __future__ import annotations

import argparse
import datetime
import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from latency import resident_megabytes, start
from load import PROBES, Background, clients, machine, probers, rank, recordings, references
from starts import busy_loops
from tqdm import tqdm

CLIENTS_PER_WORKER = 4
PROBES_PER_SECOND = 10
LOOPS_PER_CORE = 8
NONE_SEEN = 3.0
"""The upper 95 % bound of the expected number of events when none was seen (Poisson): -ln(0.05)."""


def health(address: str) -> dict[str, Any]:
    """The body of /health."""
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("GET", "/health")
    body: dict[str, Any] = json.load(connection.getresponse())
    connection.close()
    return body


def memory(front: int, state: dict[str, Any]) -> dict[str, float]:
    """Resident megabytes by process."""
    workers = {f"worker {w['index']}": resident_megabytes(w["pid"]) for w in state["workers"]}
    return {"front process": resident_megabytes(front)} | workers


def section(options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """The lines of one run."""
    load, probes, state, hours = found["load"], found["probes"], found["state"], found["seconds"] / 3600
    served, n_probes = sum(load["served"].values()), sum(map(len, probes["seconds"].values()))
    errors = ", ".join(f"{count} x {kind}" for kind, count in load["errors"].items()) or "none"
    by_reason = ", ".join(f"{n} x {reason}" for reason, n in state["restarts"]["by_reason"].items() if n) or "none"
    verdict = (
        "0 false restarts, 0 false failures of probes, 0 wrong answers"
        if found["clean"]
        else "**not clean**, see below"
    )
    beside = f" beside {found['loops']} busy loops" if found["loops"] else ""
    bound = f"; below {NONE_SEEN / hours:.1f} an hour with 95 % confidence" if not probes["reds"] else ""
    lines = [
        f"## {found['seconds'] / 60:.0f} minutes at saturation{beside}",
        "",
        f"{verdict[0].upper()}{verdict[1:]}. {len(state['workers'])} workers, {options.concurrency} clients in a "
        f"closed loop (at nice 5, on the same processors), {PROBES_PER_SECOND} requests a second to each probe over "
        "new connections and as many over kept ones.",
        "",
        "| | |",
        "|---|---|",
        f"| requests answered | {served} ({served / found['seconds']:.1f} a second) |",
        f"| errors | {errors} |",
        f"| wrong answers (any digit differs from the start) | {load['wrong']} |",
        f"| false failures of probes | {len(probes['reds'])} of {n_probes} probes{bound} |",
        f"| worker restarts | {state['restarts']['total']} ({by_reason}) |",
        f"| self-tests failed | {state['self_test']['failures']} |",
        "",
        "| probe | connection | requests | p50 | p99 | maximum |",
        "|---|---|---|---|---|---|",
    ]
    for path in PROBES:
        for kind in ("new", "kept"):
            taken = [1000 * seconds for seconds in probes["seconds"][path, kind]]
            p50, p99, longest = rank(taken, 0.5), rank(taken, 0.99), max(taken)
            lines.append(f"| {path} | {kind} | {len(taken)} | {p50:.1f} ms | {p99:.1f} ms | {longest:.1f} ms |")
    lines += ["", "| resident memory, MB | start | end | maximum |", "|---|---|---|---|"]
    for name, first in found["memory"][0].items():
        samples = [sample[name] for sample in found["memory"] if name in sample]
        lines.append(f"| {name} | {first:.0f} | {samples[-1]:.0f} | {max(samples):.0f} |")
    lines += ["", "| recording | answered |", "|---|---|"]
    lines += [f"| {name} | {count} |" for name, count in load["served"].items()]
    if probes["reds"]:
        lines += ["", "The first false failures:", "", *[f"* `{red}`" for red in probes["reds"][:10]]]
    return lines


def report(options: argparse.Namespace, runs: list[dict[str, Any]]) -> str:
    """The page."""
    described = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    lines = [
        "# Soak test",
        "",
        f"Measured by `bench/soak.py` on {datetime.datetime.now(datetime.UTC).date()} at commit "
        f"{described.stdout.strip() or 'unknown'}: {machine()}. {options.remark}".rstrip(),
    ]
    for found in runs:
        lines += ["", *section(options, found)]
    return "\n".join(lines) + "\n"


def soak(options: argparse.Namespace, minutes: float, loops: int) -> dict[str, Any]:
    """Saturate a new service; returns what was seen."""
    process, url, _ = start(["--no-page"] if options.no_page else [])
    address = url.removeprefix("http://")
    try:
        mix = recordings()
        expected = references(address, mix)
        first = health(address)
        options.concurrency = options.concurrency or CLIENTS_PER_WORKER * len(first["workers"])
        with busy_loops(loops):
            begun = time.monotonic()
            load = Background(clients, address, mix, expected, options.concurrency)
            watch = Background(probers, address, PROBES_PER_SECOND)
            samples = [memory(process.pid, first)]
            # disable=None: shown on a terminal only
            with tqdm(total=round(60 * minutes), unit="s", disable=None) as bar:
                while (elapsed := time.monotonic() - begun) < 60 * minutes:
                    bar.update(int(elapsed) - bar.n)
                    time.sleep(1)
                    if int(elapsed) % 10 == 9:
                        samples.append(memory(process.pid, health(address)))
            found: dict[str, Any] = {"loops": loops, "load": load.stop(), "seconds": time.monotonic() - begun}
            found["probes"] = watch.stop()
        found["state"] = health(address)
        found["memory"] = [*samples, memory(process.pid, found["state"])]
    finally:
        process.terminate()
        process.wait()
    restarts = found["state"]["restarts"]["total"]
    found["clean"] = not (restarts or found["probes"]["reds"] or found["load"]["wrong"] or found["load"]["errors"])
    return found


def main() -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--beside", type=float, default=0, metavar="MINUTES", help="then so long beside busy loops")
    parser.add_argument("--concurrency", type=int, help="clients at a time (default: 4 a worker)")
    parser.add_argument("--no-page", action="store_true")
    parser.add_argument("--remark", default="", help="a sentence for the page, such as what else ran on the machine")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page here as well")
    options = parser.parse_args()

    runs = [soak(options, options.minutes, 0)]
    if options.beside:
        runs.append(soak(options, options.beside, LOOPS_PER_CORE * len(os.sched_getaffinity(0))))
    page = report(options, runs)
    print(page)
    if options.write:
        options.write.write_text(page, encoding="utf-8")
    return 0 if all(found["clean"] for found in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
