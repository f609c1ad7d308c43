"""Networks and linear probes over the artist-disjoint folds: what a trained network's files are called and hold.

Each network lies as ``<name>.pt`` beside its JSON twin; a run with the same configuration takes it up instead of
training again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ccmusic.genres import LABELS
from ccmusic.training.configuration import Configuration
from ccmusic.training.data import Dataset
from ccmusic.training.distil import PROBE_C, fit_probe, probe_probabilities
from ccmusic.training.network import GenreNetwork

PRETRAINED = "mn04.npz"


@dataclass(frozen=True)
class OutOfFold:
    """Logits for clips whose fold their network has not seen.

    Attributes
    ----------
    rows : np.ndarray [shape=(n,)]
        Rows of the dataset: the clips of which at least a group of leaves is known.
    logits : dict of float to np.ndarray [shape=(n, recordings, windows, 16)]
        By length of the recordings in seconds; NaN where a recording has fewer windows.
    """

    rows: np.ndarray
    logits: dict[float, np.ndarray]

    def keep(self, mask: np.ndarray) -> OutOfFold:
        """Only the clips where `mask` [shape=(n,)] is true."""
        return OutOfFold(self.rows[mask], {seconds: value[mask] for seconds, value in self.logits.items()})


def run_name(fold: int | None) -> str:
    """Name of a run in the work directory; without a fold it trains on every clip."""
    return "final" if fold is None else f"fold-{fold}"


def is_finished(work: Path, fold: int | None, configuration: Configuration) -> bool:
    """Whether the work directory holds this run with this configuration."""
    twin = work / f"{run_name(fold)}.json"
    if not twin.is_file():
        return False
    wanted = json.loads(json.dumps(asdict(configuration)))
    return bool(json.loads(twin.read_text(encoding="utf-8"))["configuration"] == wanted)


def new_network(dataset: Dataset, configuration: Configuration) -> GenreNetwork:
    """Make an untrained network with a head for every teacher output."""
    sizes = {name: teacher.windows.shape[2] for name, teacher in dataset.teachers.items()}
    return GenreNetwork(configuration.stem_stride, sizes, configuration.dropout, configuration.front)


def load_network(work: Path, fold: int | None, dataset: Dataset, configuration: Configuration) -> GenreNetwork:
    """Read a finished network with its teachers' heads, in evaluation mode."""
    network = new_network(dataset, configuration)
    network.load_state_dict(torch.load(work / f"{run_name(fold)}.pt", weights_only=True))
    network.eval()
    return network


def probe_out_of_fold(
    dataset: Dataset,
    folds: Sequence[int],
    features: np.ndarray,
    others: Sequence[np.ndarray] = (),
    c: float = PROBE_C,
) -> list[np.ndarray]:
    """Cross-validate a linear probe over the same folds.

    Parameters
    ----------
    dataset : Dataset
    folds : sequence of int
    features : np.ndarray [shape=(clips, size)]
        What the probe is fitted on.
    others : sequence of np.ndarray [shape=(clips, size)]
        The same features heard over shorter stretches, to be described by the same probe.
    c : float
        Inverse strength of the L2 penalty.

    Returns
    -------
    list of np.ndarray [shape=(clips, 16)]
        Probabilities for `features` and then for each of `others`; NaN outside the folds.
    """
    out = [np.full((len(dataset), len(LABELS)), np.nan) for _ in (features, *others)]
    for fold in folds:
        train_rows, test_rows = dataset.split(fold)
        fit_on = train_rows[dataset.label[train_rows] >= 0]
        probe = fit_probe(features[fit_on], dataset.label[fit_on], c)
        for into, heard in zip(out, (features, *others), strict=True):
            into[test_rows] = probe_probabilities(probe, heard[test_rows])
    return out
