"""Which genres of a person stand for which of our labels."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ccmusic.errors import InvalidParameter

SEPARATORS = frozenset("/;|\\")
"""Players cut a genre in two at these."""
MOST_VOCABULARY_BYTES = 2**20
SHIPPED = "shipped"

# fmt: off
SHIPPED_GENRES: Mapping[str, tuple[str, ...]] = {
    # ccMusic: 16, 9 and 2 groups
    "Symphony": ("Symphony",), "Opera": ("Opera",), "Solo": ("Classical Solo",), "Chamber": ("Chamber Music",),
    "Pop_vocal_ballad": ("Pop Ballad",), "Adult_contemporary": ("Adult Contemporary",), "Teen_pop": ("Teen Pop",),
    "Contemporary_dance_pop": ("Dance Pop",), "Dance_pop": ("Dance Pop",), "Classic_indie_pop": ("Indie Pop",),
    "Chamber_cabaret_and_art_pop": ("Chamber Pop", "Art Pop"), "Soul_or_RnB": ("Soul", "R&B"),
    "Adult_alternative_rock": ("Adult Alternative",), "Uplifting_anthemic_rock": ("Anthemic Rock",),
    "Soft_rock": ("Soft Rock",), "Acoustic_pop": ("Acoustic Pop",),
    "Pop": ("Pop",), "Dance_and_house": ("Dance", "House"), "Indie": ("Indie",), "Rock": ("Rock",),
    "Classic": ("Classical",), "Non_classic": (),  # nobody calls music "not classical"
    # world
    "Blues": ("Blues",), "Classical": ("Classical",), "Country": ("Country",), "Disco": ("Disco",),
    "Hip-Hop": ("Hip-Hop",), "Jazz": ("Jazz",), "Metal": ("Metal",), "Reggae": ("Reggae",),
    "Electronic": ("Electronic",), "Folk": ("Folk",), "Latin": ("Latin",), "R&B": ("R&B",), "Rap": ("Rap",),
    "World": ("World",),
}
# fmt: on


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The genres of a person for our labels.

    Parameters
    ----------
    name : str
        ``shipped``, or the path of its file.
    genres : mapping of str to tuple of str
        By label; an empty tuple if nothing is written for it.
    """

    name: str
    genres: Mapping[str, tuple[str, ...]]

    def of(self, label: str) -> tuple[str, ...] | None:
        """The genres for a label; None if the vocabulary does not have it."""
        return self.genres.get(label)


def shipped_vocabulary() -> Vocabulary:
    """The vocabulary that is used if none is named. No genre in it has a separator."""
    return Vocabulary(SHIPPED, SHIPPED_GENRES)


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a vocabulary from a JSON or TOML file.

    Its table ``genres`` has a genre, or a list of genres, for each label; an empty list excludes the label. The labels
    that it does not name keep the shipped genres, unless ``only = true``.

    Raises
    ------
    InvalidParameter
        The file cannot be read, or a genre cannot be written without a loss.
    """
    try:
        content = path.read_bytes()
        if len(content) > MOST_VOCABULARY_BYTES:
            raise InvalidParameter("--vocabulary", f"{path} has more than {MOST_VOCABULARY_BYTES:,} bytes")
        text = content.decode()
        table = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise InvalidParameter("--vocabulary", f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidParameter("--vocabulary", f"{path} is neither TOML nor JSON (.json): {error}") from error
    unknown = sorted(table.keys() - {"genres", "only", "separators"}) if isinstance(table, dict) else ["a list"]
    if unknown or not isinstance(table.get("genres"), dict):
        what = f"and not {', '.join(unknown)}" if unknown else "which is missing"
        raise InvalidParameter("--vocabulary", f"{path} must have the table genres, {what}")
    named = {
        label: _checked(path, label, value, separators=table.get("separators") is True)
        for label, value in table["genres"].items()
    }
    return Vocabulary(str(path), named if table.get("only") is True else {**SHIPPED_GENRES, **named})


def _checked(path: Path, label: str, value: object, *, separators: bool) -> tuple[str, ...]:
    genres = [value] if isinstance(value, str) else value
    if not isinstance(genres, list) or not all(isinstance(genre, str) and genre.strip() for genre in genres):
        raise InvalidParameter("--vocabulary", f"{path}: {label} must have a text or a list of texts")
    for genre in genres:
        why = _unwritable(genre, separators=separators)
        if why:
            raise InvalidParameter("--vocabulary", f"{path}: {genre!r} for {label} {why}")
    return tuple(dict.fromkeys(genre.strip() for genre in genres))


def _unwritable(genre: str, *, separators: bool) -> str:
    """Why a genre would not be read as it was written; empty if it would."""
    if not genre.isprintable():
        return "has characters that cannot be printed"
    if genre.strip().isdecimal() or genre.lstrip().startswith("(") or genre.strip() in ("CR", "RX"):
        return "is read as the number of a genre in ID3"
    if SEPARATORS & set(genre) and not separators:
        return (
            "is cut in two by players: give two genres, or one without /, ;, | and \\ "
            "(with `separators = true` it is written as it is)"
        )
    return ""
