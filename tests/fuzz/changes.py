"""Changes of a recording's parts. Each takes the tree, a random generator and the container, and says what it did."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from fuzz.containers import Container
from fuzz.numbers import MANY, magnitude, number, times
from fuzz.part import MAX_BYTES, Numbering, Part
from fuzz.pictures import PNG, enlarged

TEXT = re.compile(rb"[a-z]{3}")
"""What a part that means text has in it."""
ZEROS = b"0000000"
"""Where seeds leave room for a number."""
MOST_NUMBERED = 100_000
"""Copies that differ and deep nesting take time to make."""
DEEPEST_TREE = 60
"""Deeper nesting is written as headers that follow each other: Python's own recursion is limited."""
MARKER = b"\x9e\x11 the place of the number \x11\x9e"

Change = Callable[[Part, random.Random, Container, list[Part]], str]


class Nothing(Exception):
    """The tree has no part that this change could be made to."""


def size(part: Part) -> int:
    """About how many bytes a part takes when it is written."""
    return (len(part.body) + 8 + sum(size(inner) for inner in part.parts)) * part.times


def pick(root: Part, rng: random.Random) -> tuple[Part, Part]:
    """A part and what holds it. Each kind is equally likely, whatever the number of its parts."""
    found = list(root.walk())
    if not found:
        raise Nothing
    kind = rng.choice(sorted({part.kind for _, part in found}))
    return rng.choice([pair for pair in found if pair[1].kind == kind])


def with_body(root: Part, rng: random.Random) -> Part:
    """A part with bytes of its own."""
    for _ in range(4):
        _, part = pick(root, rng)
        if part.body:
            return part
    raise Nothing


def name(part: Part) -> str:
    """Of the kind of a part: text if it is meant as text, otherwise hexadecimal."""
    text = part.kind.decode("latin-1")
    return text.strip() if len(text) > 2 and text.isascii() and text.isprintable() else part.kind.hex()


def place(holder: Part, part: Part) -> int:
    """The index of this very part; others may be equal."""
    return next(index for index, inner in enumerate(holder.parts) if inner is part)


def fit(root: Part, part: Part) -> None:
    """Repeat a part less often until the recording is not too large."""
    wanted, part.times = part.times, 1
    part.times = max(1, min(wanted, (MAX_BYTES - size(root)) // size(part)))
    while part.times > 1 and size(root) > MAX_BYTES:
        part.times //= 2


def repeat(root: Part, rng: random.Random, container: Container, seeds: list[Part]) -> str:
    holder, part = pick(root, rng)
    part.times = times(rng)
    fit(root, part)
    number_copies(part, rng, container, 0.6 if part.times < MANY else 0.9)
    return f"repeat {name(part)} in {name(holder)} {repetition(part)}"


def repetition(part: Part) -> str:
    """How a part is repeated."""
    return f"x{part.times}" + (f" numbered {part.numbering.form}" if part.numbering else "")


def number_copies(part: Part, rng: random.Random, container: Container, share: float) -> None:
    """Make the copies of a repeated part differ, in this share of the cases."""
    part.numbering = _numbering(part, rng, container) if rng.random() < share else None
    if part.numbering:
        part.times = min(part.times, MOST_NUMBERED)


def _numbering(part: Part, rng: random.Random, container: Container) -> Numbering | None:
    """Numbers in the part itself or in one of its innermost parts."""
    leaves = [inner for _, inner in part.walk() if inner.body and not inner.parts]
    if part.body:
        leaves += [part] * max(len(leaves), 1)
    if not leaves:
        return None
    made_for_it = [leaf for leaf in leaves if ZEROS in leaf.body]
    leaf = rng.choice(made_for_it if made_for_it and rng.random() < 0.6 else leaves)
    length = len(leaf.body)
    if TEXT.search(leaf.body) if rng.random() < 0.8 else rng.random() < 0.5:
        form, width = "text", min(length, len(ZEROS))
        at = leaf.body.find(ZEROS) if rng.random() < 0.8 else 0
    else:
        form = container.order if rng.random() < 0.9 else rng.choice(("big", "little"))
        width = length if length <= 8 and rng.random() < 0.7 else rng.choice((1, 2, 4, 8))
        at = 0 if width >= length or rng.random() < 0.4 else rng.randrange(0, length, min(width, 4))
    at = max(at, 0)
    if leaf is not part:
        body, leaf.body = leaf.body, MARKER + leaf.body
        content = part.body + container.write(part.parts)
        leaf.body = body
        if MARKER not in content:
            return None
        # Where all sizes are fixed in width, the place is the same without the marker.
        at += content.index(MARKER)
    return Numbering(at, width, form, rng.random() < 0.5)


def delete(root: Part, rng: random.Random, container: Container, seeds: list[Part]) -> str:
    holder, part = pick(root, rng)
    del holder.parts[place(holder, part)]
    return f"delete {name(part)}"


def move(root: Part, rng: random.Random, container: Container, seeds: list[Part]) -> str:
    holder, part = pick(root, rng)
    del holder.parts[place(holder, part)]
    holders = [root, *(inner for _, inner in root.walk() if inner.parts)]
    target = rng.choice(holders)
    target.parts.insert(rng.randint(0, len(target.parts)), part)
    return f"move {name(part)} to {name(target)}"


def swap(root: Part, rng: random.Random, container: Container, seeds: list[Part]) -> str:
    holder, part = pick(root, rng)
    here, there = place(holder, part), rng.randrange(len(holder.parts))
    holder.parts[here], holder.parts[there] = holder.parts[there], holder.parts[here]
    return f"swap {name(part)} with {name(holder.parts[here])}"


def retype(root: Part, rng: random.Random, container: Container, seeds: list[Part]) -> str:
    _, part = pick(root, rng)
    known = [*container.kinds, *sorted({inner.kind for _, inner in root.walk()})]
    old, part.kind = name(part), rng.choice(known)
    return f"retype {old} to {name(part)}"


def nest(root: Part, rng: random.Random, container: Container, seeds: list[Part]) -> str:
    holder, part = pick(root, rng)
    outer = rng.choice([holder.kind, part.kind, *container.kinds]) or part.kind
    return wrap(root, holder, part, outer, times(rng), container)


def wrap(root: Part, holder: Part, part: Part, outer: bytes, deep: int, container: Container) -> str:
    """Put a part into parts of the kind `outer`, each in the next."""
    body = holder.body if outer == holder.kind else b""
    if deep <= DEEPEST_TREE or not container.header_bytes:
        deep = min(deep, DEEPEST_TREE)
        inner = part
        for _ in range(deep):
            inner = Part(outer, body, [inner])
    else:
        deep = min(deep, (MAX_BYTES - size(root)) // 24, MOST_NUMBERED)
        inner = _deep(part, outer, max(deep, 1), container)
    holder.parts[place(holder, part)] = inner
    return f"nest {name(part)} in {name(inner)} x{deep}"


def _deep(part: Part, outer: bytes, deep: int, container: Container) -> Part:
    """Headers that follow each other, each around all that comes after it."""
    content = container.write([part])
    header = len(container.write([Part(outer)]))
    counted = container.header_bytes == "counted"
    sizes = (len(content) + header * inside for inside in range(deep - 2, -1, -1))
    headers = [container.write([Part(outer, declared=each + header * counted)]) for each in sizes]
    return Part(outer, b"".join(headers) + content)


def declare(root: Part, rng: random.Random, container: Container, seeds: list[Part]) -> str:
    _, part = pick(root, rng)
    part.declared = number(rng, rng.choice((1, 2, 4, 4, 8)), size(part))
    return f"declare {name(part)}"


def set_field(root: Part, rng: random.Random, container: Container, seeds: list[Part]) -> str:
    part = with_body(root, rng)
    length = len(part.body)
    width = length if length <= 8 and rng.random() < 0.5 else rng.choice((1, 2, 4, 4, 4, 8))
    within = length if rng.random() < 0.3 else min(length, 40)
    at = rng.randrange(0, within, min(width, within) if rng.random() < 0.7 else 1)
    order = container.order if rng.random() < 0.9 else rng.choice(("big", "little"))
    new = number(rng, width, int.from_bytes(part.body[at : at + width], order))
    part.body = part.body[:at] + new.to_bytes(width, order) + part.body[at + width :]
    return f"set {name(part)} at {at}"


def table(root: Part, rng: random.Random, container: Container, seeds: list[Part]) -> str:
    """Many entries behind a right count: the count is the last field of the head."""
    part = with_body(root, rng)
    head, width = rng.choice((8, 8, 12, 4)), rng.choice((4, 8, 8, 12, 16, 20))
    count = fill_table(part, rng, container, head, width, min(times(rng), (MAX_BYTES - size(root)) // width))
    return f"table {name(part)} x{count}"


def fill_table(part: Part, rng: random.Random, container: Container, head: int, width: int, count: int) -> int:
    """Write entries like the first one, and mostly their right number; returns the number."""
    if count < 1:
        raise Nothing
    entry = part.body[head : head + width].ljust(width, b"\0")
    if rng.random() < 0.6:
        count = min(count, MOST_NUMBERED)
        numbering = Numbering(rng.randrange(0, width, 4), 4, container.order, rng.random() < 0.4)
        entries = b"".join(numbering.write(entry, place, count)[:width] for place in range(count))
    else:
        entries = entry * count
    declared = count if rng.random() < 0.8 else number(rng, 4, count)
    fields = part.body[: head - 4].ljust(head - 4, b"\0") + (declared % 2**32).to_bytes(4, container.order)
    part.body = fields + entries
    return count


def resize(root: Part, rng: random.Random, container: Container, seeds: list[Part]) -> str:
    """Cut a part's bytes, or add some."""
    part = with_body(root, rng)
    if rng.random() < 0.4:
        part.body = part.body[: rng.randrange(len(part.body))]
        return f"cut {name(part)}"
    more = min(magnitude(rng, rng.choices((64, 5000, 2_000_000), (60, 38, 2))[0]), MAX_BYTES - size(root))
    filling = rng.choice((bytes(1), b"\xff", part.body, rng.randbytes(16)))
    at = rng.choice((0, len(part.body), rng.randrange(len(part.body))))
    part.body = part.body[:at] + (filling * (more // len(filling) + 1))[: max(more, 0)] + part.body[at:]
    return f"enlarge {name(part)}"


def flip(root: Part, rng: random.Random, container: Container, seeds: list[Part]) -> str:
    part = with_body(root, rng)
    body = bytearray(part.body)
    for _ in range(rng.choice((1, 1, 2, 8, 30))):
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    part.body = bytes(body)
    return f"flip {name(part)}"


def splice(root: Part, rng: random.Random, container: Container, seeds: list[Part]) -> str:
    """A part of another seed, instead of one of the same kind or beside any."""
    holder, part = pick(root, rng)
    _, other = pick(rng.choice(seeds), rng)
    same = [pair for pair in root.walk() if pair[1].kind == other.kind]
    if same and rng.random() < 0.6:
        holder, part = rng.choice(same)
        holder.parts[place(holder, part)] = other.copy()
        return f"replace {name(other)}"
    if rng.random() < 0.5 and part.parts:
        holder, at = part, rng.randint(0, len(part.parts))
    else:
        at = place(holder, part)
    holder.parts.insert(at, other.copy())
    return f"insert {name(other)} in {name(holder)}"


def enlarge_picture(root: Part, rng: random.Random, container: Container, seeds: list[Part]) -> str:
    """A picture that is small in the file and large when it is decoded."""
    found = [part for _, part in root.walk() if PNG.search(part.body)]
    if not found:
        raise Nothing
    part = rng.choice(found)
    part.body, done = enlarged(part.body, rng)
    return f"{done} in {name(part)}"


def recode(root: Part, rng: random.Random, container: Container, seeds: list[Part]) -> str:
    """Name another codec."""
    codec = container.codec
    found = [part for _, part in root.walk() if codec and part.kind == codec.kind]
    if not codec or not found:
        raise Nothing
    part = rng.choice(found)
    new = rng.choice(codec.names)
    part.body = new + (b"" if codec.width is None else part.body[codec.width :])
    return f"codec {new.hex() if codec.width else new.decode()} in {name(part)}"


CHANGES: dict[str, tuple[Change, float]] = {
    "repeat": (repeat, 22),
    "set": (set_field, 22),
    "table": (table, 8),
    "declare": (declare, 8),
    "splice": (splice, 8),
    "retype": (retype, 6),
    "flip": (flip, 6),
    "resize": (resize, 5),
    "delete": (delete, 4),
    "move": (move, 4),
    "swap": (swap, 3),
    "nest": (nest, 3),
    "recode": (recode, 3),
    "picture": (enlarge_picture, 1),
}
"""Each change by name, and how likely it is."""
