"""Taxonomies: the genres that a network's outputs name, and their sums over coarser groups.

`CCMUSIC` has 16 genres, 9 and 2 groups; its source is the label tree of the public dataset
``ccmusic-database/music_genre``. `WORLD` has 16 genres of other collections. A user's own model brings its own labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ccmusic.errors import InvalidParameter


@dataclass(frozen=True, slots=True)
class Genre:
    """A genre or group of genres: its identifier and its display names."""

    label: str
    label_en: str
    label_zh: str


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """A set of genres, at one or more levels.

    Attributes
    ----------
    name : str
        Its name in the parameter ``taxonomy``.
    levels : tuple of tuple of Genre
        The finest first, in the order of the network's outputs. The name of a level is its number of groups.
    parents : tuple of tuple of int
        For each coarser level: the group of each genre of the finest level.
    """

    name: str
    levels: tuple[tuple[Genre, ...], ...]
    parents: tuple[tuple[int, ...], ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its name and labels: answers carry it between processes."""
        return taxonomy_of, (self.name, self.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """Identifiers of the finest level, in the order of the network's outputs."""
        return tuple(genre.label for genre in self.levels[0])

    @property
    def sizes(self) -> tuple[int, ...]:
        """The names of its levels, finest first."""
        return tuple(map(len, self.levels))

    def level(self, requested: int | None = None) -> int:
        """The requested level; the finest if it is None.

        Raises
        ------
        InvalidParameter
            There is no such level; the text names the existing ones.
        """
        if requested is None:
            return self.sizes[0]
        if requested not in self.sizes:
            sizes = ", ".join(map(str, self.sizes))
            raise InvalidParameter("level", f"must be {'one of ' * (len(self.sizes) > 1)}{sizes}, not {requested!r}")
        return requested

    def genres(self, level: int | None = None) -> tuple[Genre, ...]:
        """The groups of a level, the finest by default, in order of first appearance among the genres.

        Raises
        ------
        InvalidParameter
        """
        return self.levels[self.sizes.index(self.level(level))]

    def roll_up(self, probabilities: np.ndarray, level: int | None = None) -> np.ndarray:
        """Sum probabilities of the finest level over the groups of a coarser level.

        Parameters
        ----------
        probabilities : np.ndarray [shape=(..., n_labels)]
            In the order of `labels`.
        level : int, optional
            One of `sizes`.

        Returns
        -------
        np.ndarray [shape=(..., level)]
            In the order of ``genres(level)``.

        Raises
        ------
        InvalidParameter
        """
        position = self.sizes.index(self.level(level))
        if position == 0:
            return np.asarray(probabilities)
        groups = np.eye(self.sizes[position])[list(self.parents[position - 1])]
        return np.asarray(np.asarray(probabilities) @ groups)


@dataclass(frozen=True, slots=True)
class Leaf(Genre):
    """One of the 16 ccMusic genres, with its group at each coarser level."""

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


def _ccmusic() -> Taxonomy:
    coarser = ([leaf.level9 for leaf in LEAVES], [leaf.level2 for leaf in LEAVES])
    groups = [list(dict.fromkeys(names)) for names in coarser]
    return Taxonomy(
        "ccmusic",
        (LEAVES, *(tuple(Genre(label, *_GROUP_NAMES[label]) for label in level) for level in groups)),
        tuple(tuple(level.index(name) for name in names) for names, level in zip(coarser, groups, strict=True)),
    )


CCMUSIC = _ccmusic()
"""The ccMusic taxonomy, levels 16, 9 and 2."""

LABELS: tuple[str, ...] = CCMUSIC.labels
"""The 16 labels, in the order of the networks' outputs."""

LEVELS: tuple[int, ...] = CCMUSIC.sizes
"""Levels of the ccMusic taxonomy, by their number of groups."""

roll_up = CCMUSIC.roll_up
"""Sum probabilities of the 16 genres over 9 or 2 groups."""

WORLD = Taxonomy(
    "world",
    (
        (
            Genre("Blues", "Blues", "蓝调"),
            Genre("Classical", "Classical", "古典"),
            Genre("Country", "Country", "乡村"),
            Genre("Disco", "Disco", "迪斯科"),
            Genre("Hip-Hop", "Hip-hop", "嘻哈"),
            Genre("Jazz", "Jazz", "爵士"),
            Genre("Metal", "Metal", "金属"),
            Genre("Pop", "Pop", "流行"),
            Genre("Reggae", "Reggae", "雷鬼"),
            Genre("Rock", "Rock", "摇滚"),
            Genre("Electronic", "Electronic", "电子"),
            Genre("Folk", "Folk", "民谣"),
            Genre("Latin", "Latin", "拉丁"),
            Genre("R&B", "R&B", "节奏布鲁斯"),
            Genre("Rap", "Rap", "说唱"),
            Genre("World", "World music", "世界音乐"),
        ),
    ),
)
"""Genres of other collections; one level."""

TAXONOMIES: dict[str, Taxonomy] = {taxonomy.name: taxonomy for taxonomy in (CCMUSIC, WORLD)}
"""The taxonomies with fixed labels, by name."""

OWN = "own"
"""Name of the taxonomy of a model with its own labels."""


def taxonomy_of(name: str, labels: Sequence[str]) -> Taxonomy:
    """The taxonomy of a model's output.

    Parameters
    ----------
    name : str
        A key of `TAXONOMIES`, or `OWN`.
    labels : sequence of str
        Labels of the output; for `OWN`, they are the one level of the taxonomy.

    Returns
    -------
    Taxonomy
    """
    if name == OWN:
        return Taxonomy(OWN, (tuple(Genre(label, label, label) for label in labels),))
    return TAXONOMIES[name]
