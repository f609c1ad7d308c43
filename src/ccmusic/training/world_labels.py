"""Labels and training targets of the 16 world genres. They are all weak: no person listened to the clips for them.

Three sources, the most trusted first: the artists in ``world_artists.txt``; the tags, folders and ccMusic labels of
``clips.csv`` (the tables below); and, for every clip, probes on the outputs of the teachers, fitted on those labels.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccmusic.genres import TAXONOMIES
from ccmusic.scoring.class_weights import class_weights
from ccmusic.training.data import Dataset
from ccmusic.training.teachers import fit_probe, probe_features, probe_probabilities

WORLD = TAXONOMIES["world"].labels
ARTISTS = Path(__file__).with_name("world_artists.txt")

TAGS = {
    "Jazz": "Jazz", "Country": "Country", "Blues": "Blues", "Rap": "Rap", "Reggae": "Reggae", "Latin": "Latin",
    "R&B": "R&B", "Electronic": "Electronic", "International": "World", "Folk": "Folk", "Classical": "Classical",
}  # fmt: skip
"""AllMusic genres of the source taffc; its genre Pop/Rock is too wide."""
FOLDERS = {"classical": "Classical", "electronic": "Electronic", "rock": "Rock", "pop": "Pop"}
"""Folders of the source emotify."""
LEAVES = {
    "Teen_pop": "Pop", "Contemporary_dance_pop": "Pop", "Dance_pop": "Pop", "Adult_alternative_rock": "Rock",
    "Uplifting_anthemic_rock": "Rock", "Soul_or_RnB": "R&B",
}  # fmt: skip
"""ccMusic genres that are wholly within a world genre."""

TRUST = {"artist": 0.8, "tag": 0.6, "folder": 0.5, "genre": 0.5, "": 0.0}
"""Share of the label in the target, by the source of the label; the rest is the output of the probe."""
POP_FOLDER_TRUST = 0.3
RAP_AS_HIP_HOP, HIP_HOP_AS_RAP = 0.55, 0.2
"""Share of the target that a clip labelled Rap gives to Hip-Hop, and the other way round: collections use the two
names differently."""
HIP_HOP_OF_BOTH = 0.62
"""How the probe's probability of Rap and Hip-Hop together is divided."""
TEACHER_C, BALANCE = 0.003, 0.5
"""Of the probe: inverse strength of the L2 penalty, and exponent of the inverse class frequency."""


@dataclass(frozen=True)
class WorldLabels:
    """World genre of each clip, one row per clip.

    Attributes
    ----------
    label : np.ndarray [shape=(clips,), dtype=int]
        Index in `WORLD`, -1 if unknown.
    basis : np.ndarray [shape=(clips,), dtype=str]
        Source of the label: ``artist``, ``tag``, ``folder``, ``genre`` or empty.
    """

    label: np.ndarray
    basis: np.ndarray

    @property
    def trust(self) -> np.ndarray:
        """Share of the label in the target of each clip."""
        trust = np.array([TRUST[basis] for basis in self.basis], dtype=np.float32)
        trust[(self.label == WORLD.index("Pop")) & (self.basis == "folder")] = POP_FOLDER_TRUST
        return trust

    @property
    def tested(self) -> np.ndarray:
        """Whether a label is good enough to test on: those of listed artists, and orchestral game scores."""
        return np.asarray(
            (self.basis == "artist") | ((self.basis == "folder") & (self.label == WORLD.index("Classical")))
        )


def artists() -> dict[str, str]:
    """World genre of each artist listed in ``world_artists.txt``."""
    out: dict[str, str] = {}
    for line in ARTISTS.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            genre, _, names = line.partition(": ")
            out |= {name.strip(): genre for name in names.split(";")}
    return out


def world_labels(directory: Path) -> WorldLabels:
    """Read the world genres of the clips from ``clips.csv``, in the order of its rows."""
    by_artist = artists()
    with (directory / "clips.csv").open(newline="", encoding="utf-8") as file:
        found = [_genre_and_basis(row, by_artist) for row in csv.DictReader(file)]
    return WorldLabels(
        np.array([WORLD.index(genre) if genre else -1 for genre, _ in found]), np.array([basis for _, basis in found])
    )


def _genre_and_basis(row: dict[str, str], by_artist: dict[str, str]) -> tuple[str, str]:
    if row["artist"] in by_artist:
        return by_artist[row["artist"]], "artist"
    if row["source"] == "emotify":
        return FOLDERS[row["tags"]], "folder"
    if row["source"] == "wesnoth":
        return "Classical", "folder"
    if row["source"] == "taffc" and row["tags"] in TAGS:
        return TAGS[row["tags"]], "tag"
    return (LEAVES[row["label"]], "genre") if row["label"] in LEAVES else ("", "")


def soft_world_targets(dataset: Dataset, labels: WorldLabels, train: np.ndarray) -> np.ndarray:
    """Mix the label of each training clip with the output of a probe, fitted on training clips of the other folds.

    Parameters
    ----------
    dataset : Dataset
    labels : WorldLabels
    train : np.ndarray [shape=(n,)]
        Rows that may be used; the others have no influence.

    Returns
    -------
    np.ndarray [shape=(clips, 16), dtype=float32]
        NaN outside `train`.
    """
    features, rap, hip_hop = probe_features(dataset), WORLD.index("Rap"), WORLD.index("Hip-Hop")
    targets = np.full((len(dataset), len(WORLD)), np.nan, dtype=np.float32)
    for fold in np.unique(dataset.fold[train]):
        fit_on = train[(dataset.fold[train] != fold) & (labels.label[train] >= 0)]
        own = train[dataset.fold[train] == fold]
        known = labels.label[fit_on]
        weights = class_weights(known, BALANCE, len(WORLD))[known] * labels.trust[fit_on] / TRUST["tag"]
        probe = fit_probe(features[fit_on], known, TEACHER_C, weights)
        probed = probe_probabilities(probe, features[own], len(WORLD))
        both = probed[:, rap] + probed[:, hip_hop]
        probed[:, hip_hop], probed[:, rap] = both * HIP_HOP_OF_BOTH, both * (1 - HIP_HOP_OF_BOTH)
        targets[own] = probed
    trust = labels.trust[train, None]
    targets[train] = trust * _own_targets(labels)[train] + (1 - trust) * targets[train]
    return targets


def _own_targets(labels: WorldLabels) -> np.ndarray:
    """Targets by the labels alone, [shape=(clips, 16), dtype=float32]; 0 for clips without one."""
    rap, hip_hop = WORLD.index("Rap"), WORLD.index("Hip-Hop")
    targets = np.zeros((len(labels.label), len(WORLD)), dtype=np.float32)
    known = labels.label >= 0
    targets[known, labels.label[known]] = 1
    for own, other, share in ((rap, hip_hop, RAP_AS_HIP_HOP), (hip_hop, rap, HIP_HOP_AS_RAP)):
        mine = labels.label == own
        targets[mine, own], targets[mine, other] = 1 - share, share
    return targets
