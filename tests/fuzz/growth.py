"""Growth of one kind of part: it becomes many, long, deep, or a table that declares much.

What is small on disk and large in memory or time has grown like this somewhere. Random changes do it seldom, so every
twentieth recording grows the next kind of part that its container has.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from fuzz.changes import fill_table, fit, name, number_copies, recode, repetition, size, wrap
from fuzz.containers import Container
from fuzz.numbers import MANY, magnitude
from fuzz.part import MAX_BYTES, Part
from fuzz.pictures import PNG, SIDES, enlarged

MOST = 10**6
"""Copies and entries; more would take a worker's time in proportion only."""
MOST_CLAIMED = 10**9
UPLOAD_BYTES = 90 * 2**20
"""A recording may have 100 MB: seldom, one part takes most of it."""
BULK = 1000
"""Bytes of a part that holds a file or samples, and may well be long."""
PICTURE = b"picture"
"""In place of the kind of a part: any part that has a picture in it."""
Way = Callable[[Part, Part, Part, random.Random, Container], str]


def grow(root: Part, kind: bytes, rng: random.Random, container: Container) -> str:
    """Grow one part of this kind, in a way that suits it, and say what was done."""
    if kind == PICTURE:
        return _enlarge(root, rng)
    holder, part = rng.choice([pair for pair in root.walk() if pair[1].kind == kind])
    long = 50 if len(part.body) > BULK else 20 if part.body and not part.parts else 5
    ways: list[tuple[Way, int]] = [(_repeat, 50), (_lengthen, long), (_nest, 3)]
    if kind in container.tables:
        ways += [(_fill, 50), (_claim, 60)]
    if container.codec and kind == container.codec.kind:
        ways.append((_recode, 100))
    way = rng.choices(*zip(*ways, strict=True))[0]  # type: ignore[arg-type]
    return way(root, holder, part, rng, container)


def _many(rng: random.Random) -> int:
    """As many as fit, or a number of any magnitude."""
    return MOST if rng.random() < 0.4 else magnitude(rng, MOST, MANY)


def _repeat(root: Part, holder: Part, part: Part, rng: random.Random, container: Container) -> str:
    part.times = _many(rng)
    fit(root, part)
    number_copies(part, rng, container, 0.75)
    return f"repeat {name(part)} in {name(holder)} {repetition(part)}"


def _lengthen(root: Part, holder: Part, part: Part, rng: random.Random, container: Container) -> str:
    most = UPLOAD_BYTES if rng.random() < 0.3 else MAX_BYTES
    more = magnitude(rng, max(most - size(root), 2), most / 2 if most == UPLOAD_BYTES else 2.0)
    part.body += bytes(more)
    return f"lengthen {name(part)} by {more}"


def _nest(root: Part, holder: Part, part: Part, rng: random.Random, container: Container) -> str:
    return wrap(root, holder, part, part.kind, _many(rng), container)


def _fill(root: Part, holder: Part, part: Part, rng: random.Random, container: Container) -> str:
    table = container.tables[part.kind]
    most = (MAX_BYTES - size(root)) // table.width
    count = fill_table(part, rng, container, table.head, table.width, min(_many(rng), most))
    return f"table {name(part)} x{count}"


def _claim(root: Part, holder: Part, part: Part, rng: random.Random, container: Container) -> str:
    """Declare many samples, in this table or in all beside it alike, mostly without the bytes for them."""
    with_bytes = rng.random() < 0.4
    number = magnitude(rng, MAX_BYTES - size(root) if with_bytes else MOST_CLAIMED, 20 * MANY)
    beside = [inner for inner in holder.parts if inner.kind in container.tables]
    for inner in beside if rng.random() < 0.85 else [part]:
        head, width, total_at = container.tables[inner.kind]
        at = head - 4 if total_at is None else total_at
        if total_at is None and inner is not part:
            continue
        entry = inner.body[:head].ljust(head, b"\0") + inner.body[head : head + width].ljust(width, b"\0")
        if at < head and head >= 12:  # the size of each sample, which makes a list of sizes unnecessary
            entry = entry[:4] + (1).to_bytes(4, container.order) + entry[8:]
        elif at >= head:
            entry = entry[: head - 4] + (1).to_bytes(4, container.order) + entry[head:]
        inner.body = entry[:at] + number.to_bytes(4, container.order) + entry[at + 4 :]
    if with_bytes:
        for _, payload in root.walk():
            if payload.kind == container.payload:
                payload.body += bytes(number)
                break
    return f"claim {name(part)} x{number}" + (" with their bytes" if with_bytes else "")


def _recode(root: Part, holder: Part, part: Part, rng: random.Random, container: Container) -> str:
    return recode(root, rng, container, [])


def _enlarge(root: Part, rng: random.Random) -> str:
    part = rng.choice([part for _, part in root.walk() if PNG.search(part.body)])
    part.body, done = enlarged(part.body, rng, rng.choice((SIDES, SIDES[-1:])))
    return f"{done} in {name(part)}"
