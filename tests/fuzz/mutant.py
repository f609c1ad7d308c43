"""Mutated recordings by number: the same number gives the same bytes again, as long as this folder is the same."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from fuzz.changes import CHANGES, Nothing
from fuzz.containers import Container
from fuzz.part import MAX_BYTES, Part
from fuzz.seeds import SEEDS

CONTAINERS = {container.name: container for container in SEEDS}
NAMES = list(CHANGES)
WEIGHTS = [weight for _, weight in CHANGES.values()]
RAW_SHARE = 0.06
"""Share of the recordings whose bytes are damaged after all."""


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
    """

    container: str
    seed: str
    changes: tuple[tuple[str, int], ...]
    raw: int | None = None


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


def plan(container: str, number: int) -> Plan:
    """The plan of recording `number` of a container."""
    rng = random.Random(f"{container} {number}")
    seeds = list(SEEDS[CONTAINERS[container]])
    seed = rng.choices(seeds, [RICH if seed in RICH_SEEDS else 1 for seed in seeds])[0]
    count = rng.choices((1, 2, 3, 5), (45, 30, 15, 10))[0]
    changes = tuple((name, rng.getrandbits(48)) for name in rng.choices(NAMES, WEIGHTS, k=count))
    return Plan(container, seed, changes, rng.getrandbits(48) if rng.random() < RAW_SHARE else None)


def make(made: Plan) -> Mutant:
    """The bytes of a plan. A change that finds nothing to work on is left out."""
    container = CONTAINERS[made.container]
    trees = seed_trees(container)
    root = trees[made.seed].copy()
    done = []
    for name, number in made.changes:
        try:
            done.append(CHANGES[name][0](root, random.Random(number), container, list(trees.values())))
        except Nothing:
            continue
    content = container.write(root.parts)[: 2 * MAX_BYTES]
    if made.raw is not None:
        content = _damage(content, random.Random(made.raw))
        done.append("damage")
    return Mutant(content, tuple(done))


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
