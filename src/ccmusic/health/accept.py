"""Which of the offered content types a client prefers (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Range:
    kind: str
    subtype: str
    quality: float

    def specificity(self, offer: str) -> int:
        """3 for the exact type, 2 for ``type/*``, 1 for ``*/*``, 0 for no match."""
        kind, _, subtype = offer.partition("/")
        if (self.kind, self.subtype) == ("*", "*"):
            return 1
        if self.kind != kind:
            return 0
        return 3 if self.subtype == subtype else 2 if self.subtype == "*" else 0


def preferred(accept: str, offers: Sequence[str]) -> str:
    """The offer that matches an ``Accept`` header best; the first offer if none matches.

    The higher quality wins, then the more specific range, then the earlier range, then the earlier offer. A probe is
    never answered with 406, because its status code is the answer.
    """
    ranges = [found for part in accept.split(",") if (found := _range(part)) is not None]

    def rank(offer: str) -> tuple[float, int, int]:
        matching = [(one.specificity(offer), -index, one) for index, one in enumerate(ranges) if one.specificity(offer)]
        if not matching:
            return (0.0, 0, 0)
        specificity, position, best = max(matching, key=lambda match: match[:2])
        return (best.quality, specificity, position)

    best = max(offers, key=rank)  # max returns the first of equals
    return best if rank(best)[0] > 0 else offers[0]


def _range(text: str) -> _Range | None:
    media, *parameters = (part.strip().lower() for part in text.split(";"))
    kind, slash, subtype = media.partition("/")
    if not slash:
        return None
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = min(max(float(value), 0.0), 1.0)
            except ValueError:
                return None
    return _Range(kind.strip(), subtype.strip(), quality)
