"""The numbers that changes write: boundary values, and sizes of every order of magnitude."""

from __future__ import annotations

import math
import random

BOUNDARIES = (
    *range(5),
    *(
        power + off
        for bits in (7, 8, 15, 16, 24, 31, 32, 36, 48, 63, 64)
        for power in (2**bits,)
        for off in (-2, -1, 0, 1)
    ),
    0xFFFFFFF0,
    0x40000000,
    0x10000000,
)


def magnitude(rng: random.Random, most: float, least: float = 1.0) -> int:
    """A whole number whose logarithm is evenly spread."""
    return int(least * math.exp(rng.random() * math.log(most / least)))


def number(rng: random.Random, width: int, old: int) -> int:
    """A new value for a field of `width` bytes."""
    choice = rng.random()
    if choice < 0.4:
        new = rng.choice(BOUNDARIES)
    elif choice < 0.7:
        new = magnitude(rng, 256.0 ** min(width, 5))
    elif choice < 0.9:
        new = old + rng.choice((-2, -1, 1, 2, old, -(old // 2), 255))
    else:
        new = rng.getrandbits(8 * width)
    return new % 256**width


MANY = 5000
"""Repetitions that may cost more than they should."""


def times(rng: random.Random) -> int:
    """How often to repeat something: mostly few, rarely so often that only a limit on bytes ends it."""
    least, most = rng.choices(((2, 8), (2, 200), (2, MANY), (MANY, 10**6)), (55, 28, 12, 5))[0]
    return magnitude(rng, most, least)
