"""Fixtures of the drills; what they measured goes into the fault matrix in the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from ccmusic.models.store import EMBEDDED_DIRECTORY
from faults import matrix
from faults.drill import Row
from faults.service import Service
from faults.traffic import Traffic

ROWS: list[Row] = []
SECONDS_PER_REPEAT = 180
"""Bound of a drill that hangs; what it measures is never asserted."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if (mark := item.get_closest_marker("fault")) is not None:
            item.add_marker(pytest.mark.timeout(120 + SECONDS_PER_REPEAT * Row(mark.args[0]).n_repeats))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    row = item.funcargs.get("row") if hasattr(item, "funcargs") else None
    if isinstance(row, Row) and call.excinfo is not None:
        words = str(call.excinfo.value).strip().splitlines() or [call.excinfo.typename]
        if call.excinfo.errisinstance(pytest.skip.Exception):
            row.remark(f"not tried here: {words[0]}")
        else:
            row.failure = words[0][:300]
    return (yield)


def pytest_sessionfinish() -> None:
    if ROWS and (path := os.environ.get("CCMUSIC_TEST_MATRIX")):
        matrix.write(Path(path), ROWS)


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """The row of the matrix that this drill fills."""
    made = Row(request.node.get_closest_marker("fault").args[0])
    ROWS.append(made)
    return made


Start = Callable[..., AbstractContextManager[Service]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a service for one drill; green when it is handed over, unless asked not to wait."""
    count = 0

    @contextmanager
    def started(*, wait: bool = True, **settings: object) -> Iterator[Service]:
        nonlocal count
        count += 1
        service = Service(tmp_path / f"service-{count}", **settings)
        try:
            if wait:
                service.wait_green()
            yield service
        finally:
            service.stop()

    return started


@pytest.fixture
def under_traffic(start: Start) -> Callable[..., AbstractContextManager[tuple[Service, Traffic]]]:
    """A green service with two clients at it."""

    @contextmanager
    def started(**settings: object) -> Iterator[tuple[Service, Traffic]]:
        with start(**settings) as service, Traffic(service) as traffic:
            yield service, traffic

    return started


@pytest.fixture
def model_copy(tmp_path: Path) -> Path:
    """The shipped model in a directory that may be harmed."""
    return Path(shutil.copytree(EMBEDDED_DIRECTORY, tmp_path / "model"))
