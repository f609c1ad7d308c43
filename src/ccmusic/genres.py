"""The ccMusic taxonomy: 16 leaves in the order of the networks' outputs, rolled up to 9 and to 2 groups.

Source: the label tree of the public dataset ``ccmusic-database/music_genre``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ccmusic.errors import InvalidParameter

LEVELS: tuple[int, ...] = (16, 9, 2)
"""Levels of the taxonomy, named by how many groups each has."""


@dataclass(frozen=True, slots=True)
class Genre:
    """One genre or group of genres: its identifier and its names for people."""

    label: str
    label_en: str
    label_zh: str


@dataclass(frozen=True, slots=True)
class Leaf(Genre):
    """One of the 16 genres, with the group it belongs to at each coarser level."""

    level9: str
    level2: str


# fmt: off
LEAVES: tuple[Leaf, ...] = (
    Leaf("Symphony", "Symphony", "交响乐", "Symphony", "Classic"),
    Leaf("Opera", "Opera", "歌剧 / 戏曲", "Opera", "Classic"),
    Leaf("Solo", "Solo", "独奏", "Solo", "Classic"),
    Leaf("Chamber", "Chamber", "室内乐", "Chamber", "Classic"),
    Leaf("Pop_vocal_ballad", "Pop vocal ballad", "流行抒情", "Pop", "Non_classic"),
    Leaf("Adult_contemporary", "Adult contemporary", "成人当代", "Pop", "Non_classic"),
    Leaf("Teen_pop", "Teen pop", "青少年流行", "Pop", "Non_classic"),
    Leaf("Contemporary_dance_pop", "Contemporary dance pop", "当代流行舞曲", "Dance_and_house", "Non_classic"),
    Leaf("Dance_pop", "Dance pop", "流行舞曲", "Dance_and_house", "Non_classic"),
    Leaf("Classic_indie_pop", "Classic indie pop", "经典独立流行", "Indie", "Non_classic"),
    Leaf("Chamber_cabaret_and_art_pop", "Chamber cabaret & art pop", "室内卡巴莱与艺术流行", "Indie", "Non_classic"),
    Leaf("Soul_or_RnB", "Soul / R&B", "灵魂乐/节奏布鲁斯", "Soul_or_RnB", "Non_classic"),
    Leaf("Adult_alternative_rock", "Adult alternative rock", "成人另类摇滚", "Rock", "Non_classic"),
    Leaf("Uplifting_anthemic_rock", "Uplifting anthemic rock", "励志摇滚", "Rock", "Non_classic"),
    Leaf("Soft_rock", "Soft rock", "软摇滚", "Rock", "Non_classic"),
    Leaf("Acoustic_pop", "Acoustic pop", "原声流行", "Rock", "Non_classic"),
)
# fmt: on

LABELS: tuple[str, ...] = tuple(leaf.label for leaf in LEAVES)
"""The 16 labels in the order of the networks' outputs."""

_GROUP_NAMES = {
    "Symphony": ("Symphony", "交响乐"),
    "Opera": ("Opera", "歌剧 / 戏曲"),
    "Solo": ("Solo", "独奏"),
    "Chamber": ("Chamber", "室内乐"),
    "Pop": ("Pop", "流行"),
    "Dance_and_house": ("Dance & house", "舞曲与浩室"),
    "Indie": ("Indie", "独立音乐"),
    "Soul_or_RnB": ("Soul / R&B", "灵魂乐/节奏布鲁斯"),
    "Rock": ("Rock", "摇滚"),
    "Classic": ("Classical", "古典"),
    "Non_classic": ("Non-classical", "非古典"),
}


def _groups(level: int) -> tuple[Genre, ...]:
    ordered = dict.fromkeys(leaf.level9 if level == 9 else leaf.level2 for leaf in LEAVES)
    return tuple(Genre(label, *_GROUP_NAMES[label]) for label in ordered)


GENRES: MappingProxyType[int, tuple[Genre, ...]] = MappingProxyType({16: LEAVES, 9: _groups(9), 2: _groups(2)})
"""The groups of every level, in order of first appearance among the leaves."""

_PARENTS = {
    9: np.array([[leaf.level9 == group.label for leaf in LEAVES] for group in GENRES[9]], dtype=np.float64),
    2: np.array([[leaf.level2 == group.label for leaf in LEAVES] for group in GENRES[2]], dtype=np.float64),
}


def roll_up(probabilities: np.ndarray, level: int) -> np.ndarray:
    """Sum leaf probabilities into the groups of a coarser level.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(..., 16)]
        Probabilities of the leaves, in the order of `LABELS`.
    level : int
        16, 9 or 2.

    Returns
    -------
    np.ndarray [shape=(..., level)]
        Probabilities of the groups, in the order of ``GENRES[level]``.

    Raises
    ------
    InvalidParameter
        The level is not one of `LEVELS`.
    """
    if level not in LEVELS:
        raise InvalidParameter("level", f"must be one of {', '.join(map(str, LEVELS))}, not {level!r}")
    if level == 16:
        return np.asarray(probabilities)
    return np.asarray(probabilities) @ _PARENTS[level].T
