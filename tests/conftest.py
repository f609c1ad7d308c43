"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ccmusic.settings import Settings
from support.bands_model import write_model

# Settings of the shell that runs the tests must not reach them.
for _name in [name for name in os.environ if name.startswith("CCMUSIC_") and not name.startswith("CCMUSIC_TEST_")]:
    del os.environ[_name]


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
