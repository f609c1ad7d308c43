"""Mutated recordings by number: the same number gives the same bytes again, as long as this folder is the same."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from fuzz.changes import CHANGES, Nothing
from fuzz.containers import Container
from fuzz.growth import PICTURE, grow
from fuzz.part import Part
from fuzz.pictures import PNG
from fuzz.seeds import SEEDS

CONTAINERS = {container.name: container for container in SEEDS}
NAMES = list(CHANGES)
WEIGHTS = [weight for _, weight in CHANGES.values()]
RAW_SHARE = 0.06
"""Share of the recordings whose bytes are damaged after all."""
GROWTH_EVERY = 20
"""Every so many recordings one kind of part grows: each kind of the container in turn."""
MOST_WRITTEN = 96 * 2**20
"""Changes that follow each other may make more than one alone."""

RICH_SEEDS = ("lists", "tags", "blocks", "mp3-tags", "fragments", "edits")
RICH = 3
"""Seeds with more kinds of parts are taken more often, by this factor."""


@dataclass(frozen=True)
class Plan:
    """What makes a mutated recording.

    Attributes
    ----------
    container, seed : str
    changes : tuple of (str, int)
        Each change with a number for its own random choices, so that one can be dropped and the others stay.
    raw : int or None
        Number for the choices of the damage, if there is any.
    grown : (bytes, int) or None
        The kind of part that grows first, with a number for the choices.
    """

    container: str
    seed: str
    changes: tuple[tuple[str, int], ...]
    raw: int | None = None
    grown: tuple[bytes, int] | None = None


@dataclass(frozen=True)
class Mutant:
    """A mutated recording, and what was done to the seed."""

    content: bytes
    done: tuple[str, ...]


@cache
def seed_bytes(container: str, seed: str) -> bytes:
    return SEEDS[CONTAINERS[container]][seed]()


@cache
def seed_trees(container: Container) -> dict[str, Part]:
    names = SEEDS[container]
    return {name: Part(b"", parts=container.read(seed_bytes(container.name, name))) for name in names}


@cache
def kinds(container: Container) -> dict[bytes, list[str]]:
    """The kinds of parts of a container, and pictures, with the seeds that have each."""
    found: dict[bytes, list[str]] = {}
    for seed, root in seed_trees(container).items():
        for kind in sorted({part.kind for _, part in root.walk()}):
            found.setdefault(kind, []).append(seed)
        if any(PNG.search(part.body) for _, part in root.walk()):
            found.setdefault(PICTURE, []).append(seed)
    return found


def plan(container: str, number: int) -> Plan:
    """The plan of recording `number` of a container."""
    rng = random.Random(f"{container} {number}")
    if number % GROWTH_EVERY == 0:
        return _growing(container, number // GROWTH_EVERY, rng)
    seeds = list(SEEDS[CONTAINERS[container]])
    seed = rng.choices(seeds, [RICH if seed in RICH_SEEDS else 1 for seed in seeds])[0]
    count = rng.choices((1, 2, 3, 5), (45, 30, 15, 10))[0]
    changes = tuple((name, rng.getrandbits(48)) for name in rng.choices(NAMES, WEIGHTS, k=count))
    return Plan(container, seed, changes, rng.getrandbits(48) if rng.random() < RAW_SHARE else None)


def _growing(container: str, turn: int, rng: random.Random) -> Plan:
    found = kinds(CONTAINERS[container])
    kind = list(found)[turn % len(found)]
    count = rng.choices((0, 1, 2), (75, 15, 10))[0]
    changes = tuple((name, rng.getrandbits(48)) for name in rng.choices(NAMES, WEIGHTS, k=count))
    return Plan(container, rng.choice(found[kind]), changes, grown=(kind, rng.getrandbits(48)))


def change(made: Plan) -> tuple[Part, tuple[str, ...]]:
    """The parts of a plan, and what was done. A change that finds nothing to work on is left out."""
    container = CONTAINERS[made.container]
    trees = seed_trees(container)
    root = trees[made.seed].copy()
    done = []
    if made.grown:
        kind, number = made.grown
        done.append(grow(root, kind, random.Random(number), container))
    for name, number in made.changes:
        try:
            done.append(CHANGES[name][0](root, random.Random(number), container, list(trees.values())))
        except Nothing:
            continue
    return root, tuple(done)


def make(made: Plan) -> Mutant:
    """The bytes of a plan."""
    root, done = change(made)
    content = CONTAINERS[made.container].write(root.parts)[:MOST_WRITTEN]
    if made.raw is not None:
        content = _damage(content, random.Random(made.raw))
        done += ("damage",)
    return Mutant(content, done)


def mutant(container: str, number: int) -> Mutant:
    """Recording `number` of a container."""
    return make(plan(container, number))


def _damage(content: bytes, rng: random.Random) -> bytes:
    if len(content) < 8:
        return content
    choice = rng.random()
    if choice < 0.4:
        return content[: rng.randrange(4, len(content))]
    at = rng.randrange(len(content))
    if choice < 0.7:
        return content[:at] + rng.randbytes(rng.choice((1, 2, 16))) + content[at:]
    return content[:at] + content[at + rng.choice((1, 3, 64, 1000)) :]
