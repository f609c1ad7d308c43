"""What every kind of tag can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

OWN = "CCMUSIC_"
"""Our own fields begin with it, in capital letters."""

Raw = dict[str, Any]
"""What a tag had, so that it can have it again; ready for `json.dumps`."""


class Tag(Protocol):
    """One tag of a file; some files have two."""

    def genres(self) -> list[str]:
        """The genres as a player shows them."""

    def own(self) -> dict[str, str]:
        """Our own fields, by their names."""

    def raw(self) -> Raw:
        """What `restore` needs."""

    def others(self) -> Iterable[object]:
        """Everything else in the tag, to be compared."""

    def change(self, genres: Sequence[str] | None, own: Mapping[str, str] | None) -> None:
        """Write genres and own fields into the file; None leaves what is there."""

    def restore(self, raw: Raw) -> None:
        """Write back what `raw` gave."""

    def stored(self, genres: Sequence[str]) -> list[str]:
        """What `genres` gives after these were written."""
