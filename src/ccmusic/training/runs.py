"""Trains each network on each split and keeps the files of the runs in the work directory.

A run trains one network on every clip outside one fold, or on all clips (the run ``final``). It leaves three files in
``<network>/``: ``<run>.pt`` (weights), ``<run>.npz`` (embeddings of the clips, on which the heads are fitted) and
``<run>.json`` (log). A finished run with the same configuration is not trained again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from tqdm import tqdm

from ccmusic.training import mel_front
from ccmusic.training.configuration import SHORT, Configuration
from ccmusic.training.data import Dataset, load
from ccmusic.training.loop import train
from ccmusic.training.network import EMBEDDING_SIZE, GenreNetwork
from ccmusic.training.predict import CROPS_PER_CLIP, WHOLE_SECONDS, clip_of, track_windows

PRETRAINED = "mn04.npz"
SHORT_SECONDS = (0.3, 0.5, 1.0, 1.5)
JUST_LONG_SECONDS = 1.55
"""A little longer than the longest of these: among the shortest lengths of the networks for recordings."""
LONG_SECONDS = (JUST_LONG_SECONDS, 3.0, 10.0)
MOST_WINDOWS = 3


def run_all(
    data: Path, audio: Path, work: Path, members: Mapping[str, Configuration], folds: Sequence[int | None],
    jobs: int, threads: int, device: str,
) -> None:  # fmt: skip
    """Run every network on every split, `jobs` at a time, each in a process with `threads` threads."""
    todo = [
        (data, audio, work / name, fold, configuration, threads, device)
        for name, configuration in members.items()
        for fold in folds
        if not is_finished(work / name, fold, configuration)
    ]
    if jobs == 1:
        for arguments in todo:
            run(*arguments)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(run, *arguments) for arguments in todo]
        for future in tqdm(as_completed(futures), total=len(futures), desc="networks", unit="network"):
            future.result()


def run(
    data: Path, audio: Path, work: Path, fold: int | None, configuration: Configuration, threads: int, device: str
) -> None:
    """Train one network on one split and keep the embeddings that the heads need.

    Parameters
    ----------
    data, audio, work : Path
        The data directory, recordings of free music for the mel map, and the directory of this network's results; the
        last part of its path is the name of the network.
    fold : int or None
        The fold to hold out; None trains on every clip.
    configuration : Configuration
    threads : int
        Threads of torch and of numpy.
    device : str
        As torch names it.
    """
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    torch.manual_seed(configuration.seed)
    dataset = load(data)
    rows, test = dataset.split(fold)
    name, everything = run_name(fold), np.arange(len(dataset))
    with threadpool_limits(threads):
        network = start_network(data, audio, dataset, configuration).to(device)
        network, log = train(network, dataset, rows, configuration, f"{work.name} {name}")
        if work.name in SHORT:
            arrays = {str(seconds): embed(network, dataset, everything, seconds) for seconds in SHORT_SECONDS}
        else:
            arrays = {str(seconds): embed(network, dataset, test, seconds) for seconds in LONG_SECONDS}
            arrays[str(WHOLE_SECONDS)] = embed(network, dataset, everything, WHOLE_SECONDS)
    torch.save(network.cpu().state_dict(), work / f"{name}.pt")
    np.savez(work / f"{name}.npz", **arrays)  # type: ignore[arg-type]
    # written last: if the log is there, the other files are complete
    (work / f"{name}.json").write_text(json.dumps(log, indent=2) + "\n", encoding="utf-8")


def start_network(data: Path, audio: Path, dataset: Dataset, configuration: Configuration) -> GenreNetwork:
    """Make a network with the weights that its configuration starts from."""
    network = new_network(dataset, configuration)
    if configuration.front == "mel":
        with np.load(data / PRETRAINED) as pretrained:
            network.trunk.front.start_from(*mel_front.fit(audio, pretrained["mel_filters"]))
    if configuration.start == "mn04":
        network.trunk.load_mn04(data / PRETRAINED)
    return network


def new_network(dataset: Dataset, configuration: Configuration) -> GenreNetwork:
    """Make an untrained network with a head for every teacher output."""
    sizes = {name: teacher.windows.shape[2] for name, teacher in dataset.teachers.items()}
    return GenreNetwork(configuration.stem_stride, sizes, configuration.dropout, configuration.front)


def embed(network: GenreNetwork, dataset: Dataset, clips: np.ndarray, seconds: float) -> np.ndarray:
    """Compute the embeddings of recordings of one length.

    Parameters
    ----------
    network : GenreNetwork
    dataset : Dataset
    clips : np.ndarray [shape=(n,)]
        Rows of the clips.
    seconds : float
        30 takes the first three windows of a clip; less takes three crops of it, evenly spread.

    Returns
    -------
    np.ndarray [shape=(len(dataset), 3, EMBEDDING_SIZE), dtype=float16]
        NaN for other clips, and where a clip has fewer windows.
    """
    out = np.full((len(dataset), MOST_WINDOWS, EMBEDDING_SIZE), np.nan, dtype=np.float16)
    positions = np.linspace(0, 1, CROPS_PER_CLIP)
    device = next(network.parameters()).device
    for clip in clips:
        whole = dataset.cqt_db(clip)
        crops = (
            track_windows(whole)[:MOST_WINDOWS]
            if seconds == WHOLE_SECONDS
            else np.stack([clip_of(whole, seconds, position) for position in positions])
        )
        with torch.inference_mode():
            pictures = torch.from_numpy(np.ascontiguousarray(crops)).to(device)
            out[clip, : len(crops)] = network.embed(pictures).cpu().numpy()
    return out


def run_name(fold: int | None) -> str:
    """Name of a run in the work directory; None is the run on all clips."""
    return "final" if fold is None else f"fold-{fold}"


def is_finished(work: Path, fold: int | None, configuration: Configuration) -> bool:
    """Whether the work directory of a network holds this run with this configuration."""
    log = work / f"{run_name(fold)}.json"
    if not log.is_file():
        return False
    wanted = json.loads(json.dumps(asdict(configuration)))
    return bool(json.loads(log.read_text(encoding="utf-8"))["configuration"] == wanted)


def load_network(work: Path, fold: int | None, dataset: Dataset, configuration: Configuration) -> GenreNetwork:
    """Read a trained network with its teachers' heads, in evaluation mode."""
    network = new_network(dataset, configuration)
    network.load_state_dict(torch.load(work / f"{run_name(fold)}.pt", weights_only=True))
    network.eval()
    return network


def load_embeddings(work: Path, members: Sequence[str], fold: int | None, seconds: float) -> np.ndarray:
    """Read the embeddings of several networks, side by side.

    Parameters
    ----------
    work : Path
        Holds a directory for each network.
    members : sequence of str
        Names of the networks.
    fold : int or None
        The fold that was held out.
    seconds : float
        Length of the recordings.

    Returns
    -------
    np.ndarray [shape=(clips, 3, members * EMBEDDING_SIZE), dtype=float32]
        Three windows of a clip of 30 s, or three shorter recordings; NaN where there is none.
    """
    parts = []
    for name in members:
        with np.load(work / name / f"{run_name(fold)}.npz") as archive:
            parts.append(np.asarray(archive[str(seconds)], dtype=np.float32))
    return np.concatenate(parts, axis=2)
