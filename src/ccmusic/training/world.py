"""Labels and a head for the 16 world genres, which nobody labelled for this project.

Three sources, in the order of trust: artists of ``world_artists.txt``; tags and folders of ``clips.csv`` and ccMusic
labels (the tables below); and, for every clip, probes on the teachers' outputs fitted on those labels. All are weak.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from ccmusic.genres import TAXONOMIES
from ccmusic.training.data import Dataset
from ccmusic.training.distil import fit_regression, probe_features

WORLD = TAXONOMIES["world"].labels
ARTISTS = Path(__file__).with_name("world_artists.txt")

TAGS = {
    "Jazz": "Jazz", "Country": "Country", "Blues": "Blues", "Rap": "Rap", "Reggae": "Reggae", "Latin": "Latin",
    "R&B": "R&B", "Electronic": "Electronic", "International": "World", "Folk": "Folk", "Classical": "Classical",
}  # fmt: skip
"""AllMusic genres of the source taffc; its Pop/Rock says too little."""
FOLDERS = {"classical": "Classical", "electronic": "Electronic", "rock": "Rock", "pop": "Pop"}
"""Folders of the source emotify."""
LEAVES = {
    "Teen_pop": "Pop", "Contemporary_dance_pop": "Pop", "Dance_pop": "Pop", "Adult_alternative_rock": "Rock",
    "Uplifting_anthemic_rock": "Rock", "Soul_or_RnB": "R&B",
}  # fmt: skip
"""ccMusic genres that lie wholly within a world genre."""

TRUST = {"artist": 0.8, "tag": 0.6, "folder": 0.5, "genre": 0.5, "": 0.0}
"""Share of a label in the target, by where it comes from; the rest is the teachers' probe."""
POP_FOLDER_TRUST = 0.3
RAP_AS_HIP_HOP, HIP_HOP_AS_RAP = 0.55, 0.2
"""The labels Rap and Hip-Hop are shared out: who calls what which is a matter of the collection."""
HIP_HOP_OF_BOTH = 0.62
TEACHER_C, BALANCE = 0.003, 0.5
HEAD_PENALTY = 3e-4


@dataclass(frozen=True)
class WorldLabels:
    """What is known of each clip, one row per clip.

    Attributes
    ----------
    label : np.ndarray [shape=(clips,), dtype=int]
        Index in `WORLD`, -1 where unknown.
    basis : np.ndarray [shape=(clips,), dtype=str]
        ``artist``, ``tag``, ``folder``, ``genre`` or empty.
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
        """Clips that are good enough to test on: those of listed artists, and orchestral game scores."""
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
    """Read what ``clips.csv`` tells of the world genres, in the order of its rows."""
    by_artist = artists()
    with (directory / "clips.csv").open(newline="", encoding="utf-8") as file:
        told = [_told(row, by_artist) for row in csv.DictReader(file)]
    return WorldLabels(
        np.array([WORLD.index(genre) if genre else -1 for genre, _ in told]), np.array([basis for _, basis in told])
    )


def _told(row: dict[str, str], by_artist: dict[str, str]) -> tuple[str, str]:
    if row["artist"] in by_artist:
        return by_artist[row["artist"]], "artist"
    if row["source"] == "emotify":
        return FOLDERS[row["tags"]], "folder"
    if row["source"] == "wesnoth":
        return "Classical", "folder"
    if row["source"] == "taffc" and row["tags"] in TAGS:
        return TAGS[row["tags"]], "tag"
    return (LEAVES[row["label"]], "genre") if row["label"] in LEAVES else ("", "")


def _own_targets(labels: WorldLabels) -> np.ndarray:
    rap, hip_hop = WORLD.index("Rap"), WORLD.index("Hip-Hop")
    targets = np.zeros((len(labels.label), len(WORLD)), dtype=np.float32)
    known = labels.label >= 0
    targets[known, labels.label[known]] = 1
    for own, other, share in ((rap, hip_hop, RAP_AS_HIP_HOP), (hip_hop, rap, HIP_HOP_AS_RAP)):
        mine = labels.label == own
        targets[mine, own], targets[mine, other] = 1 - share, share
    return targets


def soft_world_targets(dataset: Dataset, labels: WorldLabels, train: np.ndarray) -> np.ndarray:
    """Describe the training clips by their own labels and by probes fitted on the other folds' training clips.

    Parameters
    ----------
    dataset : Dataset
    labels : WorldLabels
    train : np.ndarray [shape=(n,)]
        Rows that may be used; nothing of any other row enters.

    Returns
    -------
    np.ndarray [shape=(clips, 16), dtype=float32]
        NaN outside `train`.
    """
    features, rap, hip_hop = probe_features(dataset), WORLD.index("Rap"), WORLD.index("Hip-Hop")
    targets = np.full((len(dataset), len(WORLD)), np.nan, dtype=np.float32)
    for fold in np.unique(dataset.fold[train]):
        fit_on = train[(dataset.fold[train] != fold) & (labels.label[train] >= 0)]
        describe = train[dataset.fold[train] == fold]
        known = labels.label[fit_on]
        count = np.bincount(known, minlength=len(WORLD))
        balance = np.where(count > 0, 1 / np.maximum(count, 1) ** BALANCE, 0)
        balance /= (balance * count).sum() / count.sum()
        scaler = StandardScaler().fit(features[fit_on])
        probe = fit_regression(
            scaler.transform(features[fit_on]), known, TEACHER_C, balance[known] * labels.trust[fit_on] / TRUST["tag"]
        )
        said = np.zeros((len(describe), len(WORLD)))
        said[:, probe.classes_] = probe.predict_proba(scaler.transform(features[describe]))
        both = said[:, rap] + said[:, hip_hop]
        said[:, hip_hop], said[:, rap] = both * HIP_HOP_OF_BOTH, both * (1 - HIP_HOP_OF_BOTH)
        targets[describe] = said
    trust = labels.trust[train, None]
    targets[train] = trust * _own_targets(labels)[train] + (1 - trust) * targets[train]
    return targets


def fit_world_head(embeddings: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit a linear layer to soft targets, balanced over the genres.

    Parameters
    ----------
    embeddings : np.ndarray [shape=(clips, size)]
    targets : np.ndarray [shape=(clips, 16)]
        Rows sum to 1.

    Returns
    -------
    weight : np.ndarray [shape=(16, size)]
    bias : np.ndarray [shape=(16,)]
    """
    mean, scale = embeddings.mean(axis=0), np.maximum(embeddings.std(axis=0), 0.01)
    count = targets.sum(axis=0)
    balance = 1 / np.maximum(count, 1) ** BALANCE
    weights = targets @ (balance / ((balance * count).sum() / count.sum()))
    inputs, wanted, each = (
        torch.from_numpy(np.asarray(x, dtype=np.float32)) for x in ((embeddings - mean) / scale, targets, weights)
    )
    weight = torch.zeros(targets.shape[1], embeddings.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=80, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        wrong = -(wanted * torch.log_softmax(inputs @ weight.T + bias, dim=1)).sum(dim=1)
        total = (each * wrong).sum() / each.sum() + HEAD_PENALTY * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    found = weight.detach().numpy() / scale
    shift = bias.detach().numpy() - found @ mean
    return found - found.mean(axis=0), shift - shift.mean()
