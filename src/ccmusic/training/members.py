"""The networks of the shipped graph over the artist-disjoint folds: trained, and embedding every clip.

Each run lies as ``<member>/<run>.pt`` beside its embeddings (npz) and its JSON twin; heads are fitted on these
(`ccmusic.training.heads`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from tqdm import tqdm

from ccmusic.training import mel_front
from ccmusic.training.configuration import SHORT, Configuration
from ccmusic.training.crossval import PRETRAINED, is_finished, new_network, run_name
from ccmusic.training.data import Dataset, load
from ccmusic.training.loop import train
from ccmusic.training.network import EMBEDDING_SIZE, GenreNetwork
from ccmusic.training.predict import CROPS_PER_CLIP, WHOLE_SECONDS, clip_of, track_windows

SHORT_SECONDS = (0.3, 0.5, 1.0, 1.5)
JUST_LONG_SECONDS = 1.55
"""A little longer: among the shortest recordings that the networks for recordings answer."""
LONG_SECONDS = (JUST_LONG_SECONDS, 3.0, 10.0)
MOST_WINDOWS = 3


def embed(network: GenreNetwork, dataset: Dataset, clips: np.ndarray, seconds: float) -> np.ndarray:
    """Embeddings of recordings of one length, [shape=(len(dataset), 3, EMBEDDING_SIZE), dtype=float16].

    30 s: a clip's first three windows; less: three crops of it, spread evenly. NaN where there is no such row.
    """
    out = np.full((len(dataset), MOST_WINDOWS, EMBEDDING_SIZE), np.nan, dtype=np.float16)
    positions = np.linspace(0, 1, CROPS_PER_CLIP)
    device = next(network.parameters()).device
    for clip in clips:
        whole = dataset.cqt_db(clip)
        heard = (
            track_windows(whole)[:MOST_WINDOWS]
            if seconds == WHOLE_SECONDS
            else np.stack([clip_of(whole, seconds, position) for position in positions])
        )
        with torch.inference_mode():
            pictures = torch.from_numpy(np.ascontiguousarray(heard)).to(device)
            out[clip, : len(heard)] = network.embed(pictures).cpu().numpy()
    return out


def _started(data: Path, audio: Path, dataset: Dataset, configuration: Configuration) -> GenreNetwork:
    """An untrained network with the weights that its configuration starts from."""
    network = new_network(dataset, configuration)
    if configuration.front == "mel":
        with np.load(data / PRETRAINED) as pretrained:
            network.trunk.front.start_from(*mel_front.fit(audio, pretrained["mel_filters"]))
    if configuration.start == "mn04":
        network.trunk.load_mn04(data / PRETRAINED)
    return network


def run_member(
    data: Path, audio: Path, work: Path, fold: int | None, configuration: Configuration, threads: int, device: str
) -> None:
    """Train one network on everything but a fold and embed what the heads need, unless that is finished.

    Parameters
    ----------
    data, audio, work : Path
        The data directory, recordings of free music for the mel map, and where this member's results are kept: the
        last part of its name is the member's.
    fold : int or None
        The fold to hold out; None trains on every clip.
    configuration : Configuration
    threads : int
        Threads of torch and of numpy.
    device : str
        As torch names it.
    """
    if is_finished(work, fold, configuration):
        return
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    torch.manual_seed(configuration.seed)
    dataset = load(data)
    rows, test = dataset.split(fold)
    name, everything = run_name(fold), np.arange(len(dataset))
    with threadpool_limits(threads):
        network = _started(data, audio, dataset, configuration).to(device)
        network, log = train(network, dataset, rows, configuration, f"{work.name} {name}")
        if work.name in SHORT:
            arrays = {str(seconds): embed(network, dataset, everything, seconds) for seconds in SHORT_SECONDS}
        else:
            arrays = {str(seconds): embed(network, dataset, test, seconds) for seconds in LONG_SECONDS}
            arrays[str(WHOLE_SECONDS)] = embed(network, dataset, everything, WHOLE_SECONDS)
    torch.save(network.cpu().state_dict(), work / f"{name}.pt")
    np.savez(work / f"{name}.npz", **arrays)  # type: ignore[arg-type]
    # the twin is written last: its presence says that the rest is whole
    (work / f"{name}.json").write_text(json.dumps(log, indent=2) + "\n", encoding="utf-8")


def run_all(
    data: Path, audio: Path, work: Path, members: Mapping[str, Configuration], folds: Sequence[int | None],
    jobs: int, threads: int, device: str,
) -> None:  # fmt: skip
    """Run every member on every split, `jobs` at a time, each in a process of its own with so many threads."""
    todo = [
        (data, audio, work / name, fold, configuration, threads, device)
        for name, configuration in members.items()
        for fold in folds
        if not is_finished(work / name, fold, configuration)
    ]
    if jobs == 1:
        for run in todo:
            run_member(*run)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(run_member, *run) for run in todo]
        for future in tqdm(as_completed(futures), total=len(futures), desc="networks", unit="network"):
            future.result()


def embeddings(work: Path, members: Sequence[str], fold: int | None, seconds: float) -> np.ndarray:
    """Read what members have embedded, side by side.

    Parameters
    ----------
    work : Path
        Holds a directory for each member.
    members : sequence of str
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
