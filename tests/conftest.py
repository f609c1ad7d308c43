"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from ccmusic.settings import Settings
from support.bands_model import write_model
from support.waiting import PATIENCE_SECONDS

# Settings of the shell that runs the tests must not reach them.
for _name in [name for name in os.environ if name.startswith("CCMUSIC_") and not name.startswith("CCMUSIC_TEST_")]:
    del os.environ[_name]


# A shell starts a background command with SIGINT ignored, and all child processes would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# By default httpx waits for 5 s, and a busy machine may need more. It has no public setting for that.
for _phase in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, _phase, PATIENCE_SECONDS)


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory around `band_network`; tests only read it."""
    return write_model(tmp_path_factory.mktemp("models") / "bands")


@pytest.fixture
def make_settings(model_directory: Path) -> Callable[..., Settings]:
    """Settings for one test: the bands model, one worker, no page, a free port."""

    def make(**changes: object) -> Settings:
        defaults = {"model": str(model_directory), "workers": 1, "page": False, "port": 0, "host": "127.0.0.1"}
        return Settings(**(defaults | changes))

    return make
