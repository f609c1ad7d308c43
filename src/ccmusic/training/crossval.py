"""Networks and linear probes over the artist-disjoint folds: what is trained, kept in the work directory, and gathered.

Each network lies as ``<name>.pt`` beside its JSON twin and its out-of-fold logits, a run with the same configuration
takes them up instead of training again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ccmusic.genres import LABELS
from ccmusic.training.configuration import Configuration
from ccmusic.training.data import Dataset, load
from ccmusic.training.distil import PROBE_C, fit_probe, probe_probabilities
from ccmusic.training.evaluate import CLIP_SECONDS, network_forward, predict
from ccmusic.training.loop import train
from ccmusic.training.network import GenreNetwork
from ccmusic.training.readout import blended

PRETRAINED = "mn04.npz"


@dataclass(frozen=True)
class OutOfFold:
    """Logits for clips whose fold their network has not seen.

    Attributes
    ----------
    rows : np.ndarray [shape=(n,)]
        Rows of the dataset: the clips of which at least a group of leaves is known.
    logits : dict of float to np.ndarray [shape=(n, recordings, windows, 16)]
        By length of the recordings in seconds, as `ccmusic.training.evaluate.predict` gives them.
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


def run_split(data: Path, work: Path, fold: int | None, configuration: Configuration, threads: int) -> None:
    """Train on everything but one fold and predict that fold, unless that is finished.

    Parameters
    ----------
    data, work : Path
        The data directory and where results are kept.
    fold : int or None
        The fold to hold out; None trains on every clip and predicts nothing.
    configuration : Configuration
    threads : int
        Threads of torch and of numpy.
    """
    if is_finished(work, fold, configuration):
        return
    torch.set_num_threads(threads)
    torch.manual_seed(configuration.seed)
    dataset = load(data)
    train_rows, test_rows = dataset.split(fold)
    network = new_network(dataset, configuration)
    if configuration.start == "mn04":
        network.trunk.load_mn04(data / PRETRAINED)
    name = run_name(fold)
    with threadpool_limits(threads):
        network, log = train(network, dataset, train_rows, configuration, name)
        served = blended(network, dataset, train_rows, configuration.readout_share, configuration.balance)
    torch.save(served.state_dict(), work / f"{name}.pt")
    if fold is not None:
        known = test_rows[~dataset.allowed[test_rows].all(axis=1)]
        forward = network_forward(served)
        logits = {str(seconds): predict(forward, dataset, known, seconds) for seconds in CLIP_SECONDS}
        arrays: dict[str, Any] = {"ids": dataset.ids[known], **logits}
        np.savez(work / f"{name}.npz", **arrays)
    # the twin is written last: its presence says that the rest is whole
    (work / f"{name}.json").write_text(json.dumps(log, indent=2) + "\n", encoding="utf-8")


def run_all(
    data: Path, work: Path, folds: Sequence[int | None], configuration: Configuration, jobs: int, threads: int
) -> None:
    """Run several splits, `jobs` at a time, each in a process of its own with so many threads."""
    work.mkdir(parents=True, exist_ok=True)
    todo = [fold for fold in folds if not is_finished(work, fold, configuration)]
    if jobs == 1:
        for fold in todo:
            run_split(data, work, fold, configuration, threads)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(run_split, data, work, fold, configuration, threads) for fold in todo]
        for future in futures:
            future.result()


def gather(work: Path, folds: Sequence[int], dataset: Dataset) -> OutOfFold:
    """Put the folds' predictions together.

    Parameters
    ----------
    work : Path
    folds : sequence of int
    dataset : Dataset

    Returns
    -------
    OutOfFold
        In the order of the folds.
    """
    position = {identifier: row for row, identifier in enumerate(dataset.ids)}
    archives = [np.load(work / f"{run_name(fold)}.npz") for fold in folds]
    rows = np.array([position[identifier] for archive in archives for identifier in archive["ids"]])
    logits = {}
    for seconds in CLIP_SECONDS:
        parts = [archive[str(seconds)] for archive in archives]
        most = max(part.shape[2] for part in parts)
        padded = [
            np.pad(part, ((0, 0), (0, 0), (0, most - part.shape[2]), (0, 0)), constant_values=np.nan) for part in parts
        ]
        logits[seconds] = np.concatenate(padded)
    return OutOfFold(rows, logits)


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
