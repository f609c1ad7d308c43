"""Runs the real service in a process of its own, on a free port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from support.waiting import PATIENCE_SECONDS, wait_until

STOP_SECONDS = 60


@dataclass
class RunningServer:
    """A running ``ccmusic serve``."""

    url: str
    process: subprocess.Popen[str]
    management: str | None = None

    def health(self) -> httpx.Response:
        """``GET /health``."""
        return httpx.get(f"{self.url}/health", timeout=PATIENCE_SECONDS)

    def wait_healthy(self) -> None:
        """Wait until /health is 200."""
        wait_until(lambda: self.health().status_code == 200, "/health is 200")


@contextmanager
def running_server(
    *arguments: str, command: tuple[str, ...] = ("-m", "ccmusic.cli", "serve"), **environment: str
) -> Iterator[RunningServer]:
    """Start the service, yield it when it has printed its address, and stop it with SIGTERM.

    Parameters
    ----------
    *arguments
        Further command-line arguments.
    command : tuple of str
        Arguments of the Python interpreter.
    **environment
        Further environment variables.
    """
    process = subprocess.Popen(
        [sys.executable, *command, "--host", "127.0.0.1", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,  # must not matter
        # no load balancer needs time to learn that the service stops
        env=os.environ | {"CCMUSIC_DRAIN_LINGER_SECONDS": "0", "CCMUSIC_MANAGEMENT_HOST": "127.0.0.1"} | environment,
    )
    try:
        url = _address(process)
        yield RunningServer(url, process, _address(process) if "CCMUSIC_MANAGEMENT_PORT" in environment else None)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()
            process.stdout.close()


def _address(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    if found is None:
        raise AssertionError(f"the server did not print its address: {line!r}")
    return found[0]
