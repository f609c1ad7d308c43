"""The groups that a genre of a taxonomy is in."""

from __future__ import annotations

from functools import cache

from ccmusic.genres import TAXONOMIES, Genre


@cache
def groups_of(taxonomy: str, level: int, label: str) -> tuple[Genre, ...]:
    """A group of a level, and the coarser groups that it is in, finest first.

    Parameters
    ----------
    taxonomy : str
        A name; one that is not in `TAXONOMIES` has one level.
    level : int
        The level of `label`.
    label : str

    Returns
    -------
    tuple of Genre
        Of a label that the taxonomy does not have at this level, only the label.
    """
    known = TAXONOMIES.get(taxonomy)
    labels = [genre.label for genre in known.genres(level)] if known and level in known.sizes else []
    if known is None or label not in labels:
        return (Genre(label, label, label),)
    position = known.sizes.index(level)
    # for each level the group of every genre of the finest one
    members = (tuple(range(len(known.labels))), *known.parents)
    leaf = members[position].index(labels.index(label))
    return tuple(
        genres[groups[leaf]] for genres, groups in zip(known.levels[position:], members[position:], strict=True)
    )
