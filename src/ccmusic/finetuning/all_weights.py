"""Every weight fitted to the labels, once the head is: small steps on random, changed crops.

Source of the order, head first: Kumar et al., "Fine-tuning can distort pretrained features and underperform
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
from ccmusic.finetuning.excerpts import ask
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
"""Crops of a long recording in one pass; a short one has as many as it has windows."""
LARGEST_GRADIENT = 5.0

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Pictures [shape=(batch, 84, frames)], labels [shape=(batch,)] and weights [shape=(batch,)]."""


def tune_whole(
    model: bytes,
    material: TrainingSet,
    plan: Plan,
    checkpoint: Path,
    *,
    device: str = "cpu",
    threads: int = 1,
    on_pass: Callable[[EarlyStopping], object] = lambda _: None,
) -> tuple[bytes, EarlyStopping]:
    """Tune a network, and stop when it no longer gains on the held-out recordings.

    Parameters
    ----------
    model : bytes
        An ONNX file whose head knows the labels already.
    material : TrainingSet
    plan : Plan
    checkpoint : Path
        Written after each pass; one that is there is gone on from.
    device : str
        Of torch.
    threads : int
    on_pass : callable
        Told the course after each pass.

    Returns
    -------
    model : bytes
        The best; the given one, if no pass made it better.
    course : EarlyStopping
    """
    torch.set_num_threads(threads)
    # the other order of a picture's numbers is several times as slow on a processor
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
        course, best = EarlyStopping(state["losses"]), state["best"]
    else:
        course, best = EarlyStopping([_judge(network, material)]), _copy(network)
    while not course.is_over(plan):
        _one_pass(network, optimizer, material, plan, course.passes)
        course.losses.append(_judge(network, material))
        if course.is_best:
            best = _copy(network)
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        _write({**state, "best": best, "losses": course.losses}, checkpoint)
        on_pass(course)
    network.load_state_dict(best)
    return network.model(), course


def torch_device(asked: Device) -> str:
    """Torch's name of the device that is used when this one is asked for.

    Raises
    ------
    DependencyUnavailable
        A GPU is asked for, and torch has none.
    """
    has_cuda = torch.cuda.is_available()
    if asked == "cuda" and not has_cuda:
        raise DependencyUnavailable(
            "a GPU was asked for (CCMUSIC_DEVICE=cuda), but torch has none here: set CCMUSIC_DEVICE=cpu"
        )
    return "cuda" if has_cuda and asked != "cpu" else "cpu"


def _one_pass(
    network: TrainableGraph, optimizer: torch.optim.Optimizer, material: TrainingSet, plan: Plan, n_before: int
) -> None:
    device = next(network.parameters()).device
    # of the pass and not of the run, so that a run that is gone on with draws what it would have drawn
    generator = np.random.default_rng([plan.seed, n_before])
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(generator.integers(2**31)))
        for pictures, labels, weights in batches(material, generator):
            logits = network(torch.from_numpy(pictures).to(device))
            losses = functional.cross_entropy(logits, torch.from_numpy(labels).to(device), reduction="none")
            optimizer.zero_grad()
            (losses * torch.from_numpy(weights).to(device)).mean().backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
            optimizer.step()


def batches(material: TrainingSet, generator: np.random.Generator) -> Iterator[Batch]:
    """Random crops of the recordings that are learnt from, each recording at least once; one length a batch."""
    shares = np.asarray(CROP_SHARES) / sum(CROP_SHARES)
    weight = class_weights(material.reference[~material.held], 1.0, len(material.labels))
    windows = np.bincount([e.row for e in material.shown if e.seconds is None], minlength=len(material.held))
    stream = np.repeat(np.arange(len(windows)), np.where(material.held, 0, np.minimum(windows, MOST_CROPS)))
    order = generator.permutation(stream)
    for rows in np.array_split(order, -(-len(order) // BATCH)):
        seconds = float(generator.choice(CROP_SECONDS, p=shares))
        shortest = min(material.kept[row].n_frames for row in rows)
        frames = min(seconds_to_frames(seconds), shortest)
        crops = []
        for row in rows:
            first = int(generator.integers(material.kept[row].n_frames - frames + 1))
            crops.append(material.kept[row].read(first, first + frames))
        # the service shows windows shorter than the longest only when they are the whole recording
        longest = seconds == max(CROP_SECONDS)
        own_reference = generator.random(len(rows)) < (0.5 if longest else 1.0)
        labels = material.reference[rows]
        yield augment(np.stack(crops), generator, own_reference), labels, weight[labels].astype(np.float32)


def _judge(network: TrainableGraph, material: TrainingSet) -> float:
    whole = [excerpt for excerpt in material.held_shown if excerpt.seconds is None]
    return material.judge(whole, ask(network.answer, whole, material.kept, lambda _: None))


def _copy(network: TrainableGraph) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _write(state: dict[str, Any], path: Path) -> None:
    partial = path.with_name(f"{path.name}.part")
    torch.save(state, partial)
    partial.replace(path)
