"""CCMusic: names a recording's genre, and its health never lies."""

import os

from ccmusic.version import __version__

__all__ = ["__version__"]

# ONNX Runtime (1.32) would keep an id of this device and a database in the home directory as soon as it is imported,
# and report to its maker. Set here, since it must stand before whoever imports it; the workers inherit it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Hugging Face's library would tell its hub which other libraries are installed here; it reads this when it is imported,
# which Gradio does long before anything is pulled.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
