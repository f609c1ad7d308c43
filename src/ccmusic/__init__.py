"""CCMusic names the genre of recordings.

>>> from ccmusic import Classifier
>>> Classifier().classify("song.mp3").as_json(top_k=1)["predictions"]

See docs/python.md for the Python API, ``ccmusic --help`` for the command line.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from ccmusic.version import __version__

if TYPE_CHECKING:
    from ccmusic.classifier import Classifier
    from ccmusic.errors import AudioError, CcmusicError, ModelError
    from ccmusic.inference.result import TrackResult

__all__ = ["AudioError", "CcmusicError", "Classifier", "ModelError", "TrackResult", "__version__"]

_MODULES = {
    "AudioError": "ccmusic.errors",
    "CcmusicError": "ccmusic.errors",
    "Classifier": "ccmusic.classifier",
    "ModelError": "ccmusic.errors",
    "TrackResult": "ccmusic.inference.result",
}

# ONNX Runtime (1.32) keeps an id of this device and a database in the home directory as soon as it is imported, and
# reports to its maker. The variable must be set before the first import. The worker processes inherit it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Hugging Face's library reports to its hub which other libraries are installed. It reads this variable when it is
# imported, and Gradio imports it long before anything is fetched.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import ccmusic`` stays fast."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """List the public names, also those that are not imported yet."""
    return sorted({*globals(), *__all__})
