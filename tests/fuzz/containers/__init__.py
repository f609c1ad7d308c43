"""The containers: each has its own way to read a recording into parts and to write them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from fuzz.part import Part


class Table(NamedTuple):
    """A part whose content is a list of entries of the same size.

    Attributes
    ----------
    head : int
        Bytes before the entries. The last four are the number of entries.
    width : int
        Bytes of an entry.
    total_at : int or None
        Where it says for how many samples it stands, if it does.
    """

    head: int
    width: int
    total_at: int | None = None


class Codec(NamedTuple):
    """Where a recording names its codec: the kind of the part, and how many bytes of its content (None: all)."""

    kind: bytes
    width: int | None
    names: tuple[bytes, ...]


@dataclass(frozen=True)
class Container:
    """How one container is read and written.

    Attributes
    ----------
    name : str
    read : callable
        Takes the bytes of a seed; returns its parts.
    write : callable
        Takes parts; returns bytes in which sizes, counts and checksums are right, unless a part declares others.
    order : str
        Byte order of its numbers.
    kinds : tuple of bytes
        Kinds of parts that the container knows. Others are tried too: those of all seeds.
    """

    name: str
    read: Callable[[bytes], list[Part]]
    write: Callable[[list[Part]], bytes]
    order: Literal["big", "little"]
    kinds: tuple[bytes, ...] = ()
    header_bytes: Literal["", "counted", "not counted"] = ""
    """Whether the size in a header counts the header itself; empty if parts cannot be nested at any depth."""
    tables: dict[bytes, Table] = field(default_factory=dict, compare=False)
    """By kind of part."""
    codec: Codec | None = None
    payload: bytes = b""
    """The kind of the part that holds the samples, if tables elsewhere count them."""
