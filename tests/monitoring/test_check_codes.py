import ast
from pathlib import Path

import pytest

import ccmusic
from ccmusic.monitoring.check_codes import CHECK_CODES

SOURCE = Path(ccmusic.__file__).parent
OF_THE_SERVICE = [path for room in ("health", "serving", "ui") for path in sorted((SOURCE / room).rglob("*.py"))]
MAKERS = {"failed", "warned", "Observation", "with_failure", "PageFailed"}


def calls(path: Path) -> list[ast.Call]:
    """Calls that make an observation which is not a pass."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in nodes if isinstance(node, ast.Call) and names(node.func) & MAKERS]


def names(function: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}


def codes(path: Path) -> set[str]:
    """Every text of a ``code=`` argument and of an assignment to ``code``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "code"]
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "code" for to in node.targets):
            values.append(node.value)
    found = [part for value in values for part in results(value)]
    return {part.value for part in found if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def results(value: ast.expr) -> list[ast.expr]:
    """The expressions that a value may come from, without the condition that selects one."""
    return [*results(value.body), *results(value.orelse)] if isinstance(value, ast.IfExp) else [value]


def test_every_code_of_the_service_is_in_the_closed_set():
    used = set().union(*map(codes, OF_THE_SERVICE)) - {""}
    assert used - set(CHECK_CODES) == set()
    assert set(CHECK_CODES) - used - {"ok", "not_started", "stale", "draining"} == set(), "listed, but not used"


@pytest.mark.parametrize(
    "path",
    [path for path in OF_THE_SERVICE if path.name != "check.py"],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_every_failure_and_warning_of_the_service_names_its_code(path):
    for call in calls(path):
        named = {keyword.arg for keyword in call.keywords}
        assert "code" in named or names(call.func) == {"with_failure"}, f"{path.name}:{call.lineno} names no code"
