"""The containers: each has its own way to read a recording into parts and to write them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fuzz.part import Part


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
