"""``ccmusic doctor``: is this machine fit to serve, and is that service as well as it says?

Prints one line a finding, ``ok``, ``warn`` or ``FAIL``, each with what to do next. With ``--inject`` it breaks
something in a running service on purpose, and tells whether the service noticed and mended it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from ccmusic.errors import InvalidParameter, InvalidSettings
from ccmusic.operations.asking import DEFAULT_URL, Echo, ask
from ccmusic.operations.drill import EXIT_NOT_NOTICED, EXIT_NOT_RECOVERED, inject
from ccmusic.operations.machine import MACHINE, Finding
from ccmusic.version import SERVICE

__all__ = ["EXIT_NOT_NOTICED", "EXIT_NOT_RECOVERED", "EXIT_SICK", "add_commands", "diagnose", "inject"]

EXIT_WELL = 0
EXIT_SICK = 9

N_LATENCIES = 50
PROMISED_SECONDS = 0.01
BOUND_SECONDS = 0.1
"""/health within 10 ms is the contract's promise, 100 ms the user's own bound."""


def diagnose(url: str | None = None, echo: Echo = print) -> int:
    """Look at this machine, and at a running service if there is one to look at.

    Parameters
    ----------
    url : str, optional
        Where the service is.
    echo : callable
        Told each finding.

    Returns
    -------
    int
        0; 9 when something fails.
    """
    from ccmusic.settings import Settings, read_settings

    well = True

    def note(findings: Iterator[Finding]) -> None:
        nonlocal well
        try:
            for finding in findings:
                well = well and finding.verdict != "FAIL"
                echo(f"{finding.verdict:<4}  {finding.name:<15}  {finding.words}")
        except Exception as error:  # a check that cannot be made has not passed
            note(iter([Finding("FAIL", "doctor", f"a check could not be made: {type(error).__name__}: {error}")]))

    try:
        settings = read_settings()
    except InvalidSettings as error:
        note(iter([Finding("FAIL", "settings", f"{error}; the rest is told for the defaults")]))
        settings = Settings.model_construct()
    for look_at_machine in MACHINE:
        note(look_at_machine(settings))
    if url is not None:
        for look_at_service in _RUNNING:
            note(look_at_service(url))
    return EXIT_WELL if well else EXIT_SICK


# a running service


def _probes(url: str) -> Iterator[Finding]:
    for path in ("/startupz", "/livez", "/readyz", "/health"):
        try:
            answer = ask(url, path)
        except OSError as error:
            yield Finding("FAIL", path, f"no answer from {url}: {error}; is it running, and is the address right?")
            continue
        if answer.status == 200:
            yield Finding("ok", path, "yes")
        else:
            yield Finding("FAIL", path, str(answer.field("message") or f"status {answer.status}"))


def _checks(url: str) -> Iterator[Finding]:
    answer = ask(url, "/health")
    found = answer.field("checks")
    if answer.field("service") != SERVICE or not isinstance(found, dict):
        yield Finding("FAIL", "service", f"what answers at {url} is not CCMusic")
        return
    yield Finding("ok", "service", f"CCMusic {answer.field('version')}, up for {answer.field('uptime_seconds')} s")
    for name, check in found.items():
        if check["status"] != "pass":
            verdict: Literal["warn", "FAIL"] = "FAIL" if check["status"] == "fail" else "warn"
            yield Finding(verdict, f"check {name}", check.get("cause") or "gives no cause")


def _latency(url: str) -> Iterator[Finding]:
    seconds = []
    for _ in range(N_LATENCIES):
        began = time.perf_counter()
        ask(url, "/health")
        seconds.append(time.perf_counter() - began)
    p50, p99 = statistics.median(seconds), statistics.quantiles(seconds, n=100, method="inclusive")[98]
    words = f"{N_LATENCIES} calls of /health: p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms, connections included"
    if p99 > BOUND_SECONDS:
        yield Finding("FAIL", "latency", f"{words}; over 100 ms: is the machine overloaded?")
    else:
        yield Finding("warn" if p99 > PROMISED_SECONDS else "ok", "latency", words)


_RUNNING: tuple[Callable[[str], Iterator[Finding]], ...] = (_probes, _checks, _latency)


# the command


def add_commands(commands: Any) -> None:
    """Register ``doctor`` with the command line's subparsers."""
    parser = commands.add_parser("doctor", help="look at this machine and a running service, or try its detectors")
    parser.add_argument("--url", help="a running service to look at as well")
    parser.add_argument("--inject", metavar="FAULT", help="break this in the service at --url, and see it noticed")
    parser.add_argument("--worker", type=int, default=0, metavar="I", help="which worker (default: 0)")
    parser.add_argument("--size", type=float, metavar="X", help="how much of the fault (default: the fault's own)")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="for noticing and mending (default: 60)"
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="holds the admin token (default: CCMUSIC_ADMIN_TOKEN)"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.inject is None:
        return diagnose(options.url)
    try:
        token = os.environ.get("CCMUSIC_ADMIN_TOKEN", "")
        if options.token_file is not None:
            token = options.token_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidParameter("--token-file", f"cannot be read: {error.strerror}") from error
    return inject(
        options.url or DEFAULT_URL,
        options.inject,
        token,
        worker=options.worker,
        size=options.size,
        timeout_seconds=options.timeout,
    )
