"""Training of one network on one split: draw crops, augment, compare with labels and teachers, average the weights."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from ccmusic.features.cqt import FRAMES_PER_SECOND
from ccmusic.training.augment import augment
from ccmusic.training.data import TOP_DB, Dataset, seconds_to_frames
from ccmusic.training.distil import Standardiser, soft_targets
from ccmusic.training.network import GenreNetwork


@dataclass(frozen=True)
class Configuration:
    """Everything that a training run may vary.

    Attributes
    ----------
    epochs : int
        Passes over the training clips, one crop each (labelled clips `label_repeats` times); fixed beforehand, never
        chosen on a test fold.
    start : str
        ``mn04`` or ``scratch``.
    seconds, shares : tuple of float
        Lengths of the crops and how often each occurs, relative to one another.
    label_weight, group_weight, soft_weight, teacher_weight : float
        Weights of the losses: known leaf, known group of leaves, probe's probabilities, teachers' outputs.
    balance : float
        Exponent of the inverse class frequency in the label loss: 0 not balanced, 1 fully.
    mixup : float
        Share of batches that are mixed in pairs.
    ema_decay : float
        Decay of the running average of weights per step.
    """

    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    start: str = "mn04"
    stem_stride: tuple[int, int] = (2, 1)
    dropout: float = 0.2
    seconds: tuple[float, ...] = (0.3, 0.6, 1.0, 2.0, 3.0, 5.0, 10.0)
    shares: tuple[float, ...] = (0.06, 0.05, 0.08, 0.08, 0.2, 0.28, 0.25)
    label_repeats: int = 2
    label_weight: float = 0.5
    group_weight: float = 0.5
    soft_weight: float = 1.0
    teacher_weight: float = 2.0
    balance: float = 0.5
    mixup: float = 0.3
    ema_decay: float = 0.99
    seed: int = 16

    @classmethod
    def read(cls, path: Path | None, **changes: object) -> Configuration:
        """Defaults, overridden by a JSON file and then by `changes` that are not None."""
        values = json.loads(path.read_text(encoding="utf-8")) if path else {}
        values |= {name: value for name, value in changes.items() if value is not None}
        return replace(cls(), **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclass(frozen=True)
class Batch:
    """Crops and what is known of them; each target holds one entry per crop.

    Attributes
    ----------
    cqt_db : torch.Tensor [shape=(batch, 84, frames)]
    allowed : torch.Tensor [shape=(batch, 16), dtype=bool]
        Leaves that agree with what is known.
    known_weight : torch.Tensor [shape=(batch,)]
        Weight of that knowledge in the loss, 0 where nothing is known.
    soft : torch.Tensor [shape=(batch, 16)]
    teachers : dict of str to torch.Tensor [shape=(batch, size)]
    """

    cqt_db: torch.Tensor
    allowed: torch.Tensor
    known_weight: torch.Tensor
    soft: torch.Tensor
    teachers: dict[str, torch.Tensor]


class Batches:
    """Random crops of the training clips with their targets; holds nothing of any other clip.

    Parameters
    ----------
    dataset : Dataset
    train : np.ndarray [shape=(n,)]
        Rows to train on.
    configuration : Configuration
    """

    def __init__(self, dataset: Dataset, train: np.ndarray, configuration: Configuration) -> None:
        self.dataset, self.train, self.configuration = dataset, train, configuration
        self.generator = np.random.default_rng(configuration.seed)
        self.soft = soft_targets(dataset, train)
        self.standardisers = {name: Standardiser.fit(dataset, name, train) for name in dataset.teachers}
        labelled = dataset.label[train][dataset.label[train] >= 0]
        counts = np.bincount(labelled, minlength=dataset.allowed.shape[1])
        weights = np.where(counts > 0, np.maximum(counts, 1.0) ** -configuration.balance, 0)
        class_weight = weights * len(labelled) / max((weights * counts).sum(), 1e-9)
        known = ~dataset.allowed.all(axis=1)
        self.known_weight = np.where(
            dataset.label >= 0,
            configuration.label_weight * class_weight[dataset.label],
            configuration.group_weight * known,
        )
        repeats = np.where(dataset.label[train] >= 0, configuration.label_repeats, 1)
        self.stream = np.repeat(train, repeats)
        self.shares = np.asarray(configuration.shares) / sum(configuration.shares)

    def __len__(self) -> int:
        return max(1, len(self.stream) // self.configuration.batch_size)

    def epoch(self) -> Iterator[Batch]:
        """Every training clip once (labelled ones `label_repeats` times) in random order; one crop length a batch."""
        order = self.generator.permutation(self.stream)
        for part in np.array_split(order, len(self)):
            yield self._draw(part)

    def _draw(self, clips: np.ndarray) -> Batch:
        data, generator = self.dataset, self.generator
        # a few fixed lengths: every new shape costs the convolution library a compilation
        seconds = float(generator.choice(self.configuration.seconds, p=self.shares))
        frames = min(seconds_to_frames(seconds), int(data.frames[clips].min()))
        first = (generator.random(len(clips)) * (data.frames[clips] - frames + 1)).astype(int)
        crops = np.stack([data.spectrograms[c, :, f : f + frames] for c, f in zip(clips, first, strict=True)])
        # the service feeds windows shorter than 10 s only when they are the whole recording
        longest = seconds == max(self.configuration.seconds)
        own_reference = generator.random(len(clips)) < (0.5 if longest else 1.0)
        pictures = augment(crops.astype(np.float32) / 2 - TOP_DB, generator, own_reference)
        teachers = {
            name: self.standardisers[name](teacher.over(clips, first / FRAMES_PER_SECOND, seconds))
            for name, teacher in data.teachers.items()
        }
        return Batch(
            torch.from_numpy(pictures),
            torch.from_numpy(data.allowed[clips]),
            torch.from_numpy(self.known_weight[clips]).float(),
            torch.from_numpy(self.soft[clips]),
            {name: torch.from_numpy(value).float() for name, value in teachers.items()},
        )


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


@torch.no_grad()
def _average(running: GenreNetwork, network: GenreNetwork, decay: float) -> None:
    for old, new in zip(running.state_dict().values(), network.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)


def train(
    dataset: Dataset, rows: np.ndarray, configuration: Configuration, mn04: Path | None, name: str = "train"
) -> tuple[GenreNetwork, dict[str, object]]:
    """Train one network.

    Parameters
    ----------
    dataset : Dataset
    rows : np.ndarray [shape=(n,)]
        Clips to train on.
    configuration : Configuration
    mn04 : Path or None
        The pretrained convolutions, needed when the configuration starts from them.
    name : str
        Shown in the progress bar.

    Returns
    -------
    network : GenreNetwork
        With averaged weights, in evaluation mode.
    log : dict
        The configuration, seconds taken and mean loss of each epoch.
    """
    torch.manual_seed(configuration.seed)
    batches = Batches(dataset, rows, configuration)
    sizes = {key: teacher.windows.shape[2] for key, teacher in dataset.teachers.items()}
    network = GenreNetwork(configuration.stem_stride, sizes, configuration.dropout)
    if configuration.start == "mn04":
        network.trunk.load_mn04(mn04)
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
                loss = batch_loss(network, batch, configuration, mix)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimizer.step()
                scheduler.step()
                # early on the average must forget the start, so its memory grows with the steps taken
                step = bar.n + 1
                _average(running, network, min(configuration.ema_decay, step / (step + 10)))
                epoch_losses.append(loss.item())
                bar.update()
            losses.append(round(float(np.mean(epoch_losses)), 4))
            bar.set_postfix(loss=losses[-1])
    log = {
        "configuration": asdict(configuration),
        "clips": len(rows),
        "seconds": round(time.monotonic() - begun, 1),
        "losses": losses,
    }
    return running.eval(), log
