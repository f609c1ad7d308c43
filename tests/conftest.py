"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ccmusic.settings import Settings
from support.bands_model import write_model

ROOT = Path(__file__).parent
TOGETHER = {
    "ui": "one page that is being served",
    "audio/test_decode.py": "librosa",
    "features/test_cqt.py": "librosa",
    "features/test_mel.py": "librosa",
}
"""Folders and files whose tests share what is expensive to start, and what it is. librosa compiles its functions for
many seconds in each process that uses it. The tests of any other file share its fixtures."""

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


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share something expensive together in one process of pytest-xdist."""
    for item in items:
        path = item.path.relative_to(ROOT)
        group = TOGETHER.get(path.as_posix()) or TOGETHER.get(path.parts[0]) or path.as_posix()
        item.add_marker(pytest.mark.xdist_group(group))
