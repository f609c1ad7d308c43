"""Runs a program in a process of its own, because bounds of the kernel cannot be raised again."""

from __future__ import annotations

import subprocess
import sys

from support.waiting import PATIENCE_SECONDS


def run(program: str, *arguments: str, stderr=subprocess.PIPE, preexec_fn=None) -> subprocess.CompletedProcess:
    """Run a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=False,
        stdout=subprocess.PIPE,
        stderr=stderr,
        preexec_fn=preexec_fn,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
