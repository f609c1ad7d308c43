"""The real Prometheus and the real blackbox exporter over given configuration, on ports that the system chose."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from support.waiting import wait_until

PROMETHEUS = "prometheus"
BLACKBOX = "prometheus-blackbox-exporter"
STOP_SECONDS = 20
# both programs write this line once the socket is open, with the port that the system chose
LISTENING = re.compile(r'msg="Listening on" address=(127\.0\.0\.1:\d+)')

SHIPPED_NAME = re.compile(r"\b(ccmusic|blackbox|prometheus|alertmanager|wecom-bridge):\d+")

Series = dict[str, Any]
"""One series of an answer: `metric` (its labels) and `value` or `values`."""


@dataclass
class RealPrometheus:
    """A started Prometheus."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]
    client: httpx.Client

    def get(self, path: str, **parameters: object) -> Any:
        """The `data` of an answer of its API; an error of its own is raised with its words."""
        sent = {"data": parameters} if path.startswith("query") else {"params": parameters}
        method = "POST" if path.startswith("query") else "GET"
        body = self.client.request(method, f"{self.url}/api/v1/{path}", **sent).json()
        if body["status"] != "success":
            raise AssertionError(f"{path} {parameters}: {body['error']}")
        return body["data"]

    def query(self, expression: str, at: float | None = None) -> list[Series]:
        """The series of an expression at one moment, by default now."""
        return self.get("query", query=expression, time=time.time() if at is None else at)["result"]

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """The series of an expression over a time."""
        return self.get("query_range", query=expression, start=start, end=end, step=step)["result"]

    def value(self, expression: str) -> float | None:
        """The one value of an expression; None where it has none."""
        series = self.query(expression)
        return float(series[0]["value"][1]) if series else None

    def targets(self) -> list[dict[str, Any]]:
        """The targets that it scrapes."""
        return self.get("targets", state="active")["activeTargets"]

    def alerts(self) -> list[dict[str, Any]]:
        """Pending and firing alerts."""
        return self.get("alerts")["alerts"]


def reachable(config: str, addresses: Mapping[str, str]) -> str:
    """The shipped prometheus.yml for what runs here.

    Parameters
    ----------
    config : str
        Its text.
    addresses : mapping of str to str
        ``ccmusic:7860`` and the like to host and port; jobs and Alertmanagers that are not among them are left out.
    """
    for name, address in addresses.items():
        config = config.replace(name, address)
    parsed = yaml.safe_load(config)
    parsed["scrape_configs"] = [job for job in parsed["scrape_configs"] if not SHIPPED_NAME.search(str(job))]
    alerting = parsed["alerting"]
    alerting["alertmanagers"] = [peer for peer in alerting["alertmanagers"] if not SHIPPED_NAME.search(str(peer))]
    return yaml.safe_dump(parsed)


def every(seconds: int, text: str) -> str:
    """The configuration or the rules with each scrape and each evaluation so often."""
    pattern = r"((?:scrape_|evaluation_)?interval|scrape_timeout): \d+[sm]$"
    return re.sub(pattern, rf"\1: {seconds}s", text, flags=re.M)


@contextmanager
def real_prometheus(
    config: str, folder: Path, files: Mapping[str, str] | None = None, *arguments: str
) -> Iterator[RealPrometheus]:
    """Start Prometheus, give it once it is ready, stop it by SIGTERM in the end.

    Parameters
    ----------
    config : str
        The text of prometheus.yml, with addresses that can be reached from here.
    folder : Path
        Where its files go: an empty folder.
    files : mapping of str to str, optional
        Further files by their path beside prometheus.yml, such as ``rules/ccmusic.rules.yml``.
    *arguments
        Further words of the command line.
    """
    for name, text in {"prometheus.yml": config, **(files or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    words = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}", *arguments]
    log = folder / "prometheus.log"
    with running_program([PROMETHEUS, *words], log) as (address, process), httpx.Client(timeout=30) as client:
        prometheus = RealPrometheus(f"http://{address}", log, process, client)
        wait_until(lambda: client.get(f"{prometheus.url}/-/ready").status_code == 200, "Prometheus is ready")
        yield prometheus


@contextmanager
def real_blackbox(config: str, folder: Path) -> Iterator[str]:
    """Start the blackbox exporter, give its address (host:port), stop it by SIGTERM in the end.

    Parameters
    ----------
    config : str
        The text of blackbox.yml.
    folder : Path
        Where its files go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "blackbox.yml").write_text(config, encoding="utf-8")
    with running_program([BLACKBOX, f"--config.file={folder / 'blackbox.yml'}"], folder / "blackbox.log") as (
        address,
        _,
    ):
        yield address


@contextmanager
def running_program(command: list[str], log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a program of Prometheus's house, give its address (host:port) and its process, stop it in the end."""
    with log.open("wb") as written:
        process = subprocess.Popen(
            [*command, "--web.listen-address=127.0.0.1:0"], stdout=written, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: _address(log) is not None or process.poll() is not None, f"{command[0]} listens")
        if (address := _address(log)) is None:
            raise AssertionError(f"{command[0]} ended with {process.returncode}: {log.read_text()}")
        yield address, process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()


def _address(log: Path) -> str | None:
    found = LISTENING.search(log.read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else None
