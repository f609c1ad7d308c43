"""Check whether this machine can serve, and whether a running service is as healthy as it reports.

Each finding is a line: ``ok``, ``warn`` or ``FAIL``, what was checked, and what to do next.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Literal

from ccmusic.errors import InvalidSettings
from ccmusic.operations.http_client import Print, request
from ccmusic.operations.machine import MACHINE_CHECKS, Finding
from ccmusic.version import SERVICE

N_LATENCIES = 50
PROMISED_SECONDS = 0.01
"""docs/contract.md promises an answer of /health within this time; longer is a warning."""
BOUND_SECONDS = 0.1
"""The users' own bound; longer is a failure."""


def diagnose(url: str | None = None, echo: Print = print) -> bool:
    """Check this machine, and a running service if its address is given.

    Parameters
    ----------
    url : str, optional
        Address of the service.
    echo : callable
        Is called with a line for each finding.

    Returns
    -------
    bool
        Whether no check failed. Warnings are not failures.
    """
    from ccmusic.settings import Settings, read_settings

    passed = True

    def report(findings: Iterator[Finding]) -> None:
        nonlocal passed
        try:
            for finding in findings:
                passed = passed and finding.verdict != "FAIL"
                echo(f"{finding.verdict:<4}  {finding.name:<15}  {finding.text}")
        except Exception as error:  # a check that cannot be made has failed
            report(iter([Finding("FAIL", "doctor", f"a check could not be made: {type(error).__name__}: {error}")]))

    try:
        settings = read_settings()
    except InvalidSettings as error:
        report(iter([Finding("FAIL", "settings", f"{error}; the other checks use the defaults")]))
        settings = Settings.model_construct()
    for check_machine in MACHINE_CHECKS:
        report(check_machine(settings))
    if url is not None:
        for check_service in SERVICE_CHECKS:
            report(check_service(url))
    return passed


def _probes(url: str) -> Iterator[Finding]:
    for path in ("/startupz", "/livez", "/readyz", "/health"):
        try:
            response = request(url, path)
        except OSError as error:
            yield Finding("FAIL", path, f"no answer from {url}: {error}; is it running, and is the address right?")
            continue
        if response.status == 200:
            yield Finding("ok", path, "yes")
        else:
            yield Finding("FAIL", path, str(response.field("message") or f"status {response.status}"))


def _checks(url: str) -> Iterator[Finding]:
    response = request(url, "/health")
    checks = response.field("checks")
    if response.field("service") != SERVICE or not isinstance(checks, dict):
        yield Finding("FAIL", "service", f"the program that answers at {url} is not CCMusic")
        return
    yield Finding("ok", "service", f"CCMusic {response.field('version')}, up for {response.field('uptime_seconds')} s")
    for name, check in checks.items():
        if check["status"] != "pass":
            verdict: Literal["warn", "FAIL"] = "FAIL" if check["status"] == "fail" else "warn"
            yield Finding(verdict, f"check {name}", check.get("cause") or "gives no cause")


def _latency(url: str) -> Iterator[Finding]:
    seconds = []
    for _ in range(N_LATENCIES):
        began = time.perf_counter()
        request(url, "/health")
        seconds.append(time.perf_counter() - began)
    p50, p99 = statistics.median(seconds), statistics.quantiles(seconds, n=100, method="inclusive")[98]
    text = f"{N_LATENCIES} calls of /health: p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms, connections included"
    if p99 > BOUND_SECONDS:
        yield Finding("FAIL", "latency", f"{text}; over 100 ms: is the machine overloaded?")
    else:
        yield Finding("warn" if p99 > PROMISED_SECONDS else "ok", "latency", text)


SERVICE_CHECKS: tuple[Callable[[str], Iterator[Finding]], ...] = (_probes, _checks, _latency)
