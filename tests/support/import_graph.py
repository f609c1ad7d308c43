"""Compares the imports between the rooms of ``src/ccmusic`` with the table in docs/architecture.md.

``python tests/support/import_graph.py`` prints the counts; PYTHONPATH selects another checkout.
A room is a folder or a file directly below ``ccmusic``. Late imports and those for type checkers count as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import grimp

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"
PACKAGE = "ccmusic"
NOTHING, ALL_ABOVE = "nothing", "all above"

Edges = set[tuple[str, str]]


@dataclass(frozen=True)
class Plan:
    """The table: the rooms from the lowest to the highest, and the rooms that each may import."""

    allowed: dict[str, set[str]]

    def forbidden(self, edges: Edges) -> list[str]:
        """Imports that the table does not allow, as text."""
        return [
            f"{importer} imports {imported}"
            for importer, imported in sorted(edges)
            if imported not in self.allowed.get(importer, set())
        ]


def read_plan(text: str) -> Plan:
    """Read the first table under the heading Rooms: rooms in backticks, contents, allowed imports."""
    rows = re.findall(r"^\| (`.*?) \|.*\| (.*?) \|$", text.partition("## Rooms")[2].partition("\n## ")[0], re.MULTILINE)
    allowed: dict[str, set[str]] = {}
    for names, may_import in rows:
        rooms = [name.removesuffix(".py").removesuffix("/") for name in re.findall(r"`(.+?)`", names)]
        above = set(allowed)
        named = set(re.findall(r"`(.+?)`", may_import))
        if not (named or may_import in (NOTHING, ALL_ABOVE)) or not named <= above:
            raise ValueError(f"{names}: {may_import!r} must be '{NOTHING}', '{ALL_ABOVE}' or rooms of the rows above")
        for room in rooms:
            allowed[room] = named or (set() if may_import == NOTHING else set(above))
    return Plan(allowed)


def module_imports() -> Edges:
    """All imports between modules of the package."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    return {(module, found) for module in graph.modules for found in graph.find_modules_directly_imported_by(module)}


def room_imports(modules: Edges) -> Edges:
    """The imports between rooms, from those between modules."""
    rooms = {(_room(importer), _room(imported)) for importer, imported in modules}
    return {(importer, imported) for importer, imported in rooms if importer != imported}


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def circles(edges: Edges) -> list[list[str]]:
    """Circles of imports; the edges of a found circle are removed before the search continues."""
    edges, found = set(edges), []
    while True:
        try:
            TopologicalSorter(_targets(edges)).prepare()
        except CycleError as error:
            path = error.args[1]
            found.append(path)
            edges -= {*pairwise(path), *pairwise(reversed(path))}
        else:
            return found


def _targets(edges: Edges) -> dict[str, set[str]]:
    targets: dict[str, set[str]] = {}
    for importer, imported in edges:
        targets.setdefault(importer, set()).add(imported)
    return targets


def floors(edges: Edges) -> int:
    """The length of the longest chain of imports between rooms, without imports that close a circle."""
    edges = set(edges)
    for path in circles(edges):
        edges -= {*pairwise(path[:2]), *pairwise(reversed(path[:2]))}
    height: dict[str, int] = {}
    for room in TopologicalSorter(_targets(edges)).static_order():
        height[room] = 1 + max((height[below] for importer, below in edges if importer == room), default=0)
    return max(height.values())


def _lines(title: str, found: Iterable[object]) -> str:
    found = list(found)
    return "\n".join([f"{title}: {len(found)}", *(f"    {line}" for line in found)])


if __name__ == "__main__":
    modules = module_imports()
    rooms = room_imports(modules)
    print(f"rooms: {len({room for edge in rooms for room in edge})}")
    print(f"floors: {floors(rooms)}")
    print(_lines("circles of modules", map(" -> ".join, circles(modules))))
    print(_lines("circles of rooms", map(" -> ".join, circles(rooms))))
    print(_lines("imports that the table does not allow", read_plan(ARCHITECTURE.read_text()).forbidden(rooms)))
