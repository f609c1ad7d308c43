"""Checkpoints in ccMusic's format, narrow enough for tests, and recordings on which to measure them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from computed_weights import pictures, state

from ccmusic.checkpoints.architectures import manifest
from support.recordings import tone, wav
from support.state_dict_file import write_state_dict
from support.waiting import PATIENCE_SECONDS

__all__ = ["WIDTH", "narrow_state", "pictures", "write_checkpoint", "write_recordings"]

IMPORT_SECONDS = 4 * PATIENCE_SECONDS
"""An import is the longest work of all tests, and its processes have a low priority beside other programs."""
WIDTH = 1 / 16


def narrow_state(backbone: str = "vgg19_bn", n_labels: int = 16) -> dict[str, np.ndarray]:
    """Computed weights for a backbone with a sixteenth of its channels."""
    return state(manifest(backbone, n_labels, WIDTH))


def write_checkpoint(directory: Path, name: str = "vgg19_bn_cqt", **changes: object) -> Path:
    """Write ``<directory>/<name>/save.pt``."""
    return write_state_dict(directory / name / "save.pt", narrow_state(**changes))


def write_recordings(directory: Path, count: int = 3, seconds: float = 14.0) -> Path:
    """Make a directory of tones, by default longer than a window."""
    directory.mkdir()
    for i in range(count):
        (directory / f"tone-{i}.wav").write_bytes(wav(tone(220.0 * 2**i, seconds)))
    return directory
