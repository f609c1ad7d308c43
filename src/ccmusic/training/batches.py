"""Random crops of the training clips with their targets, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ccmusic.features.augment import augment, roughen
from ccmusic.features.cqt import FRAMES_PER_SECOND
from ccmusic.features.crops import TOP_DB, seconds_to_frames
from ccmusic.genres import LABELS
from ccmusic.scoring.class_weights import class_weights
from ccmusic.training.configuration import Configuration
from ccmusic.training.data import Dataset
from ccmusic.training.teachers import Standardiser, soft_targets


@dataclass(frozen=True)
class Batch:
    """Crops and their targets, one row per crop.

    Attributes
    ----------
    cqt_db : torch.Tensor [shape=(batch, 84, frames)]
    allowed : torch.Tensor [shape=(batch, 16), dtype=bool]
        Leaves that agree with what is known of the clip.
    known_weight : torch.Tensor [shape=(batch,)]
        Weight of that in the loss; 0 if nothing is known.
    soft : torch.Tensor [shape=(batch, 16)]
        Probabilities by the probe on the teachers.
    teachers : dict of str to torch.Tensor [shape=(batch, size)]
    """

    cqt_db: torch.Tensor
    allowed: torch.Tensor
    known_weight: torch.Tensor
    soft: torch.Tensor
    teachers: dict[str, torch.Tensor]

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to a device."""
        return Batch(
            self.cqt_db.to(device),
            self.allowed.to(device),
            self.known_weight.to(device),
            self.soft.to(device),
            {name: target.to(device) for name, target in self.teachers.items()},
        )


class Batches:
    """Draws the batches of an epoch; uses nothing of clips that are not for training.

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
        labels = dataset.label[train]
        class_weight = class_weights(labels[labels >= 0], configuration.balance, len(LABELS))
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
        """Draw each training clip once (labelled ones `label_repeats` times) in random order; one length per batch."""
        order = self.generator.permutation(self.stream)
        for part in np.array_split(order, len(self)):
            yield self._draw(part)

    def _draw(self, clips: np.ndarray) -> Batch:
        data, generator = self.dataset, self.generator
        seconds = float(generator.choice(self.configuration.seconds, p=self.shares))
        frames = min(seconds_to_frames(seconds), int(data.frames[clips].min()))
        first = (generator.random(len(clips)) * (data.frames[clips] - frames + 1)).astype(int)
        crops = np.stack([data.spectrograms[c, :, f : f + frames] for c, f in zip(clips, first, strict=True)])
        # in the service only a whole recording gives a window shorter than 10 s
        longest = seconds == max(self.configuration.seconds)
        own_reference = generator.random(len(clips)) < (0.5 if longest else 1.0)
        pictures = augment(crops.astype(np.float32) / 2 - TOP_DB, generator, own_reference)
        if self.configuration.roughen:
            pictures = roughen(pictures, generator)
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
