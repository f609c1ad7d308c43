"""Fixtures of the drills. At the end, their measurements are written to the fault matrix."""

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
from faults.service import Service, ends_of_logs
from faults.traffic import Traffic

ROWS: list[Row] = []
SECONDS_PER_REPEAT = 900
"""Timeout of a drill that hangs. It is not a limit for what the drill measures."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if (mark := item.get_closest_marker("fault")) is not None:
            item.add_marker(pytest.mark.timeout(120 + SECONDS_PER_REPEAT * Row(mark.args[0]).n_repeats))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[pytest.TestReport]:
    row = item.funcargs.get("row") if hasattr(item, "funcargs") else None
    if isinstance(row, Row) and call.excinfo is not None:
        lines = str(call.excinfo.value).strip().splitlines() or [call.excinfo.typename]
        if call.excinfo.errisinstance(pytest.skip.Exception):
            row.remark(f"not run here: {lines[0]}")
        else:
            row.failure = lines[0][:300]
    report = yield
    if report.failed and "tmp_path" in getattr(item, "funcargs", {}):
        report.sections.extend(ends_of_logs(item.funcargs["tmp_path"]))
    return report


def pytest_sessionfinish() -> None:
    if ROWS and (path := os.environ.get("CCMUSIC_TEST_MATRIX")):
        matrix.write(Path(path), ROWS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if lines := matrix.false_alarms(ROWS):
        terminalreporter.section("false alarms")
        terminalreporter.write_line("\n".join(lines))
        for row in ROWS:
            for once in filter(lambda once: once.log_end, row.repeated):
                terminalreporter.section(f"{row.name}, repeat {once.number + 1}: the end of the service's log", "-")
                terminalreporter.write_line(once.log_end)


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """The row of the matrix for this drill."""
    made = Row(request.node.get_closest_marker("fault").args[0])
    ROWS.append(made)
    return made


Start = Callable[..., AbstractContextManager[Service]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a service for one drill, and waits until it is green unless `wait` is False."""
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
    """A green service with two clients that send requests."""

    @contextmanager
    def started(**settings: object) -> Iterator[tuple[Service, Traffic]]:
        with start(**settings) as service, Traffic(service) as traffic:
            yield service, traffic

    return started


@pytest.fixture
def model_copy(tmp_path: Path) -> Path:
    """A copy of the embedded model that a drill can damage."""
    return Path(shutil.copytree(EMBEDDED_DIRECTORY, tmp_path / "model"))
