"""Training of one network on one split: crops against labels and teachers, with a running average of the weights."""

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


def batch_loss(network: GenreNetwork, batch: Batch, configuration: Configuration, mix: float = 1.0) -> torch.Tensor:
    """Loss of one batch; with `mix` < 1 every crop is blended with the next one, and so are their losses.

    Parameters
    ----------
    network : GenreNetwork
    batch : Batch
    configuration : Configuration
    mix : float
        Share of the crop itself (Zhang et al., "mixup", 2018, on decibels).

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


def _schedule(step: int, steps: int) -> float:
    """Share of the full learning rate: a short linear rise, then a cosine down to nothing."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _average(running: GenreNetwork, network: GenreNetwork, decay: float) -> None:
    # the tensors of a state_dict carry no gradients; statistics of the normalisations are averaged like the weights
    pairs = list(zip(running.state_dict().values(), network.state_dict().values(), strict=True))
    floats = [pair for pair in pairs if pair[0].is_floating_point()]
    # one call for all: on a GPU each would cost its start
    torch._foreach_lerp_([old for old, _ in floats], [new for _, new in floats], 1 - decay)
    for old, new in pairs:
        if not old.is_floating_point():
            old.copy_(new)


def train(
    network: GenreNetwork, dataset: Dataset, rows: np.ndarray, configuration: Configuration, name: str = "train"
) -> tuple[GenreNetwork, dict[str, Any]]:
    """Train a network on the device that it is on.

    Parameters
    ----------
    network : GenreNetwork
        What to start from; changed in place.
    dataset : Dataset
    rows : np.ndarray [shape=(n,)]
        Clips to train on.
    configuration : Configuration
    name : str
        Shown in the progress bar.

    Returns
    -------
    network : GenreNetwork
        With averaged weights, in evaluation mode.
    log : dict
        The configuration, seconds taken and mean loss of each epoch.
    """
    batches = Batches(dataset, rows, configuration)
    device = next(network.parameters()).device
    if device.type == "cpu":  # there it is the fastest by far, on CUDA by far the slowest
        network.to(memory_format=torch.channels_last)
    running = copy.deepcopy(network)
    heads = [*network.head.parameters(), *network.teachers.parameters()]
    groups = [
        {"params": list(network.trunk.parameters()), "lr": configuration.learning_rate},
        {"params": heads, "lr": 2 * configuration.learning_rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=configuration.weight_decay)
    steps = configuration.epochs * len(batches)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _schedule(step, steps))

    losses, begun = [], time.monotonic()
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
                torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimizer.step()
                scheduler.step()
                # early on the average must forget the start, so its memory grows with the steps taken
                step = bar.n + 1
                _average(running, network, min(configuration.ema_decay, step / (step + 10)))
                epoch_losses.append(loss.detach())  # fetched once an epoch: fetching waits for the device
                bar.update()
            losses.append(round(float(torch.stack(epoch_losses).mean()), 4))
            bar.set_postfix(loss=losses[-1])
    log = {
        "configuration": asdict(configuration),
        "clips": len(rows),
        "seconds": round(time.monotonic() - begun, 1),
        "losses": losses,
    }
    return running.eval(), log
