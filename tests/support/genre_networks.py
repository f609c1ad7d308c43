"""Untrained networks of the training, whole and small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from ccmusic.training import network
from ccmusic.training.network import BLOCKS, GenreNetwork


@contextmanager
def few_blocks() -> Iterator[None]:
    """Networks made inside have 2 of the 15 blocks, with every kind of layer: exporting takes long for each layer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "BLOCKS", (BLOCKS[0], BLOCKS[3]))
        yield


def untrained_network(seed: int, **options: object) -> GenreNetwork:
    """Random weights with fitting statistics; without these the signal vanishes and every output is the bias."""
    torch.manual_seed(seed)
    made = GenreNetwork(**options)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # plain mean over the following inputs
    with torch.inference_mode():
        for _ in range(3):
            made.embed(torch.rand(8, 84, 60) * torch.rand(8, 84, 1) * -80)
    return made.eval()
