"""The plan of docs/architecture.md, held against the imports."""

from __future__ import annotations

from pathlib import Path

import pytest

import ccmusic
from support.import_graph import ARCHITECTURE, Edges, circles, module_imports, read_plan, room_imports


@pytest.fixture(scope="module")
def modules() -> Edges:
    return module_imports()


def test_rooms_import_only_what_the_table_allows(modules: Edges) -> None:
    assert read_plan(ARCHITECTURE.read_text(encoding="utf-8")).forbidden(room_imports(modules)) == []


def test_every_room_is_in_the_table(modules: Edges) -> None:
    rooms = {room for edge in room_imports(modules) for room in edge}
    assert set(read_plan(ARCHITECTURE.read_text(encoding="utf-8")).allowed) == rooms


def test_a_forbidden_import_is_named() -> None:
    plan = read_plan("""
## Rooms

| room | what it holds | may import |
|---|---|---|
| `errors` | errors | nothing |
| `audio`, `features` | sound | `errors` |
| `cli` | words | all above |
""")
    assert plan.forbidden({("audio", "errors"), ("cli", "features")}) == []
    assert plan.forbidden({("errors", "cli"), ("audio", "features"), ("extra", "errors")}) == [
        "audio imports features",
        "errors imports cli",
        "extra imports errors",
    ]


def test_a_circle_is_found() -> None:
    assert circles({("a", "b"), ("b", "c")}) == []
    (circle,) = circles({("a", "b"), ("b", "c"), ("c", "a")})
    assert set(circle) == {"a", "b", "c"}


def test_modules_do_not_import_each_other_in_circles(modules: Edges) -> None:
    assert circles(modules) == []


IN_THE_FRONT_PROCESS = ("health", "monitoring", "serving", "ui", "workers")
"""The rooms whose ages and deadlines must stand still while the process is stopped."""
SYSTEM_CLOCK = ("health/clock.py", "workers/heartbeat.py")
"""The clock itself, and what two processes share."""


def test_ages_and_deadlines_are_in_running_time() -> None:
    """A mix of both clocks is worse than either: `CLOCK.now() - time.monotonic()` is no age at all."""
    source = Path(ccmusic.__file__).parent
    found = [
        f"{path.relative_to(source)}:{number}: use ccmusic.health.clock.CLOCK, or say why not in a comment that names "
        "the system's clock"
        for room in IN_THE_FRONT_PROCESS
        for path in sorted((source / room).rglob("*.py"))
        if path.relative_to(source).as_posix() not in SYSTEM_CLOCK
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if "time.monotonic" in line and "# the system's clock" not in line
    ]
    assert found == []
