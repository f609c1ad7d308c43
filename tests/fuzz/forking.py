"""Runs scripts that fork, in a process without the threads of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def in_a_process(script: str, *arguments: str) -> list[str]:
    """The lines that a script prints."""
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    shown = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return shown.stdout.splitlines()
