"""Trains one network on one split: crops against labels and teachers, with a running average of the weights."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from ccmusic.training.batches import Batch, Batches
from ccmusic.training.configuration import Configuration
from ccmusic.training.data import Dataset
from ccmusic.training.network import GenreNetwork

LARGEST_GRADIENT = 5.0
"""Norm to which the gradients are clipped."""


def train(
    network: GenreNetwork, dataset: Dataset, rows: np.ndarray, configuration: Configuration, name: str = "train"
) -> tuple[GenreNetwork, dict[str, Any]]:
    """Train a network on its device.

    Parameters
    ----------
    network : GenreNetwork
        Has the weights to start from; changed in place.
    dataset : Dataset
    rows : np.ndarray [shape=(n,)]
        Clips to train on.
    configuration : Configuration
    name : str
        Shown in the progress bar.

    Returns
    -------
    network : GenreNetwork
        A copy with averaged weights, in evaluation mode.
    log : dict
        The configuration, the number of clips, the seconds taken and the mean loss of each epoch.
    """
    batches = Batches(dataset, rows, configuration)
    device = next(network.parameters()).device
    if device.type == "cpu":  # the fastest memory format there, the slowest on CUDA
        network.to(memory_format=torch.channels_last)
    running = copy.deepcopy(network)
    steps = configuration.epochs * len(batches)
    optimizer, scheduler = _optimizer(network, configuration, steps)

    losses, start = [], time.monotonic()
    network.train()
    with tqdm(total=steps, desc=name, unit="batch", mininterval=5) as bar:
        for _ in range(configuration.epochs):
            epoch_losses = []
            for batch in batches.epoch():
                mixed = batches.generator.random() < configuration.mixup
                mix = float(batches.generator.uniform(0.5, 1)) if mixed else 1.0
                loss = batch_loss(network, batch.to(device), configuration, mix)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
                optimizer.step()
                scheduler.step()
                # a shorter memory at first, so that the average forgets the starting weights
                step = bar.n + 1
                _average(running, network, min(configuration.ema_decay, step / (step + 10)))
                epoch_losses.append(loss.detach())  # read once per epoch: reading waits for the device
                bar.update()
            losses.append(round(float(torch.stack(epoch_losses).mean()), 4))
            bar.set_postfix(loss=losses[-1])
    log = {
        "configuration": asdict(configuration),
        "clips": len(rows),
        "seconds": round(time.monotonic() - start, 1),
        "losses": losses,
    }
    return running.eval(), log


def batch_loss(network: GenreNetwork, batch: Batch, configuration: Configuration, mix: float = 1.0) -> torch.Tensor:
    """Loss of one batch. With `mix` below 1 each crop is mixed with the next one, and so are their losses.

    Parameters
    ----------
    network : GenreNetwork
    batch : Batch
    configuration : Configuration
    mix : float
        Share of the crop itself (mixup, Zhang et al. 2018, applied to decibels).

    Returns
    -------
    torch.Tensor
        Scalar.
    """
    pictures = batch.cqt_db
    if mix < 1:
        pictures = mix * pictures + (1 - mix) * pictures.roll(1, 0)
    logits, outputs = network.forward_training(pictures)
    log_p = functional.log_softmax(logits, dim=1)
    total = log_p.new_zeros(())
    for roll, share in ((0, mix), (1, 1 - mix)):
        if share == 0:
            continue
        allowed, soft = batch.allowed.roll(roll, 0), batch.soft.roll(roll, 0)
        known = -torch.logsumexp(log_p.masked_fill(~allowed, -math.inf), dim=1) * batch.known_weight.roll(roll, 0)
        divergence = functional.kl_div(log_p, soft, reduction="none").sum(dim=1)
        regression = torch.stack(
            [(outputs[name] - target.roll(roll, 0)).square().mean(dim=1) for name, target in batch.teachers.items()]
        ).mean(dim=0)
        losses = known + configuration.soft_weight * divergence + configuration.teacher_weight * regression
        total = total + share * losses.mean()
    return total


def _optimizer(
    network: GenreNetwork, configuration: Configuration, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with twice the learning rate for the heads, and the schedule of the rate."""
    heads = [*network.head.parameters(), *network.teachers.parameters()]
    groups = [
        {"params": list(network.trunk.parameters()), "lr": configuration.learning_rate},
        {"params": heads, "lr": 2 * configuration.learning_rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=configuration.weight_decay)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _schedule(step, steps))


def _schedule(step: int, steps: int) -> float:
    """Share of the full learning rate: a short linear rise, then a cosine to 0."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _average(running: GenreNetwork, network: GenreNetwork, decay: float) -> None:
    """Move the running average towards the weights of the network."""
    # a state_dict has no gradients; the statistics of the normalisations are averaged like the weights
    pairs = list(zip(running.state_dict().values(), network.state_dict().values(), strict=True))
    floats = [pair for pair in pairs if pair[0].is_floating_point()]
    # one call for all tensors: on a GPU each call costs time to start
    torch._foreach_lerp_([old for old, _ in floats], [new for _, new in floats], 1 - decay)
    for old, new in pairs:
        if not old.is_floating_point():
            old.copy_(new)
