"""A recording as a tree: the boxes, elements, pages, chunks or frames of its container."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_BYTES = 3 * 2**22
"""Most bytes of a mutated recording. Larger ones are refused by nobody, but take time to make."""


class Numbering(NamedTuple):
    """How the copies of a part differ: each has its number at one place.

    Attributes
    ----------
    at : int
        Position in the content of the part.
    width : int
        Bytes of the number.
    form : str
        "text" (decimal digits), "big" or "little".
    descending : bool
    """

    at: int
    width: int
    form: str
    descending: bool

    def write(self, content: bytes, number: int, total: int) -> bytes:
        """`content` of copy `number`."""
        if self.descending:
            number = total - number
        if self.form == "text":
            digits = b"%0*d" % (self.width, number % 10**self.width)
        else:
            digits = (number % 256**self.width).to_bytes(self.width, "big" if self.form == "big" else "little")
        return content[: self.at] + digits + content[self.at + self.width :]


@dataclass
class Part:
    """One box, element, page, chunk, frame or list entry.

    Attributes
    ----------
    kind : bytes
        As in the file: `moov`, the identity of an element, `LIST`.
    body : bytes
        Fields before the inner parts, or the whole content.
    parts : list of Part
        Inner parts.
    declared : int or None
        The size or count that is written instead of the right one.
    times : int
        How often the part is written.
    numbering : Numbering or None
        How its copies differ.
    """

    kind: bytes
    body: bytes = b""
    parts: list[Part] = field(default_factory=list)
    declared: int | None = None
    times: int = 1
    numbering: Numbering | None = None

    def copy(self) -> Part:
        inner = [part.copy() for part in self.parts]
        return Part(self.kind, self.body, inner, self.declared, self.times, self.numbering)

    def walk(self) -> Iterator[tuple[Part, Part]]:
        """Every part below this one, with the part that holds it."""
        for part in self.parts:
            yield self, part
            yield from part.walk()


Frame = Callable[[Part, bytes], bytes]
"""Puts the header of a part around its content."""


def copies(part: Part, frame: Frame) -> list[bytes]:
    """The bytes of each copy of a part."""
    content = part.body + write(part.parts, frame)
    if part.numbering is None:
        return [frame(part, content)] * part.times
    numbered = part.numbering
    return [frame(part, numbered.write(content, number, part.times)) for number in range(part.times)]


def write(parts: list[Part], frame: Frame) -> bytes:
    """The bytes of parts that follow each other."""
    return b"".join(piece for part in parts for piece in copies(part, frame))
