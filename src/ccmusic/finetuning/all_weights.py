"""Tunes every weight after the head was fitted: small steps on random, augmented crops.

Source for fitting the head first: Kumar et al., "Fine-tuning can distort pretrained features and underperform
out-of-distribution" (2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ccmusic.errors import DependencyUnavailable
from ccmusic.features.augment import augment
from ccmusic.features.crops import CROP_SECONDS, CROP_SHARES, seconds_to_frames
from ccmusic.finetuning.early_stopping import EarlyStopping
from ccmusic.finetuning.excerpts import run_network
from ccmusic.finetuning.plan import Plan
from ccmusic.finetuning.trainable import TrainableGraph
from ccmusic.finetuning.training_set import TrainingSet
from ccmusic.inference.backend import Device
from ccmusic.scoring.class_weights import class_weights

BATCH = 16
LEARNING_RATE = 1e-4
HEAD_LEARNING_RATE = 3e-4
WEIGHT_DECAY = 1e-4
MOST_CROPS = 4
"""Crops of a long recording in one epoch; a short one has as many as it has windows."""
LARGEST_GRADIENT = 5.0

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Pictures [shape=(batch, 84, frames)], labels [shape=(batch,)] and weights [shape=(batch,)]."""


def tune_all_weights(
    model: bytes,
    training_set: TrainingSet,
    plan: Plan,
    checkpoint: Path,
    *,
    device: str = "cpu",
    threads: int = 1,
    on_epoch: Callable[[EarlyStopping], object] = lambda _: None,
) -> tuple[bytes, EarlyStopping]:
    """Tune a network, and stop when the loss on the held-out recordings no longer falls.

    Parameters
    ----------
    model : bytes
        An ONNX file with a fitted head.
    training_set : TrainingSet
    plan : Plan
    checkpoint : Path
        Written after each epoch; an existing one is resumed.
    device : str
        A device of torch.
    threads : int
    on_epoch : callable
        Called after each epoch.

    Returns
    -------
    model : bytes
        The best one; the given one if no epoch lowered the loss.
    stopping : EarlyStopping
    """
    torch.set_num_threads(threads)
    # the other memory format is several times slower on a CPU
    network = TrainableGraph(model).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(
        [{"params": network.trunk(), "lr": LEARNING_RATE}, {"params": network.head(), "lr": HEAD_LEARNING_RATE}],
        weight_decay=WEIGHT_DECAY,
    )
    state: dict[str, Any] = {}
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        stopping, best = EarlyStopping(state["losses"]), state["best"]
    else:
        stopping, best = EarlyStopping([_judge(network, training_set)]), _copy(network)
    while not stopping.is_over(plan):
        _one_epoch(network, optimizer, training_set, plan, stopping.epochs)
        stopping.losses.append(_judge(network, training_set))
        if stopping.is_best:
            best = _copy(network)
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        _write({**state, "best": best, "losses": stopping.losses}, checkpoint)
        on_epoch(stopping)
    network.load_state_dict(best)
    return network.model(), stopping


def torch_device(asked: Device) -> str:
    """Torch's name of the device that is used for this setting.

    Raises
    ------
    DependencyUnavailable
        A GPU is required, and torch finds none.
    """
    has_cuda = torch.cuda.is_available()
    if asked == "cuda" and not has_cuda:
        raise DependencyUnavailable(
            "CCMUSIC_DEVICE=cuda requires a GPU, but torch finds none here: set CCMUSIC_DEVICE=cpu"
        )
    return "cuda" if has_cuda and asked != "cpu" else "cpu"


def _one_epoch(
    network: TrainableGraph, optimizer: torch.optim.Optimizer, training_set: TrainingSet, plan: Plan, epoch: int
) -> None:
    device = next(network.parameters()).device
    # seeded by epoch, so that a resumed run draws the same numbers as an uninterrupted one
    generator = np.random.default_rng([plan.seed, epoch])
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(generator.integers(2**31)))
        for pictures, labels, weights in batches(training_set, generator):
            logits = network(torch.from_numpy(pictures).to(device))
            losses = functional.cross_entropy(logits, torch.from_numpy(labels).to(device), reduction="none")
            optimizer.zero_grad()
            (losses * torch.from_numpy(weights).to(device)).mean().backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
            optimizer.step()


def batches(training_set: TrainingSet, generator: np.random.Generator) -> Iterator[Batch]:
    """Random crops of the training recordings, each recording at least once; one length per batch."""
    shares = np.asarray(CROP_SHARES) / sum(CROP_SHARES)
    weight = class_weights(training_set.reference[~training_set.held], 1.0, len(training_set.labels))
    windows = np.bincount([e.row for e in training_set.excerpts if e.seconds is None], minlength=len(training_set.held))
    stream = np.repeat(np.arange(len(windows)), np.where(training_set.held, 0, np.minimum(windows, MOST_CROPS)))
    order = generator.permutation(stream)
    for rows in np.array_split(order, -(-len(order) // BATCH)):
        seconds = float(generator.choice(CROP_SECONDS, p=shares))
        shortest = min(training_set.spectrograms[row].n_frames for row in rows)
        frames = min(seconds_to_frames(seconds), shortest)
        crops = []
        for row in rows:
            first = int(generator.integers(training_set.spectrograms[row].n_frames - frames + 1))
            crops.append(training_set.spectrograms[row].read(first, first + frames))
        # in the service, a window below the longest length is always a whole recording
        longest = seconds == max(CROP_SECONDS)
        own_reference = generator.random(len(rows)) < (0.5 if longest else 1.0)
        labels = training_set.reference[rows]
        yield augment(np.stack(crops), generator, own_reference), labels, weight[labels].astype(np.float32)


def _judge(network: TrainableGraph, training_set: TrainingSet) -> float:
    whole = [excerpt for excerpt in training_set.held_out_excerpts if excerpt.seconds is None]
    return training_set.judge(whole, run_network(network.answer, whole, training_set.spectrograms, lambda _: None))


def _copy(network: TrainableGraph) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _write(state: dict[str, Any], path: Path) -> None:
    partial = path.with_name(f"{path.name}.part")
    torch.save(state, partial)
    partial.replace(path)
