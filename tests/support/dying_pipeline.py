"""A replacement of the function that classifies in other processes; the name of the file says how the process ends."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ccmusic.commands import classify as command

_classify = command._classify


def classify(task: tuple[Any, Path]) -> dict[str, Any]:
    """End the process with the signal in a name such as ``deadly-11.wav``; classify other files."""
    if match := re.match(r"deadly-(\d+)", task[1].name):
        os.kill(os.getpid(), int(match[1]))
    return _classify(task)
