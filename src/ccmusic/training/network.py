"""The network: MobileNetV3 at width 0.4 over the constant-Q transform, with further heads for training only.

Source: Howard et al., "Searching for MobileNetV3" (2019), in the variant of Schmid et al., "Efficient large-scale audio
tagging via transformer-to-CNN knowledge distillation" (2023), whose public ``mn04`` weights (MIT) are the usual start.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ccmusic.genres import LABELS
from ccmusic.training.mel_front import SHIFT_DB, UNIT_DB, MelFront

EMBEDDING_SIZE = 384
"""Channels of the last convolution, pooled over time and frequency: the `embedding` output."""


class Block(NamedTuple):
    """One inverted residual at width 1: kernel, expanded and output channels, squeeze-excitation, Hardswish, stride."""

    kernel: int
    expanded: int
    out: int
    squeeze: bool
    hardswish: bool
    stride: int


# fmt: off
BLOCKS: tuple[Block, ...] = (
    Block(3,  16,  16, False, False, 1),
    Block(3,  64,  24, False, False, 2), Block(3,  72,  24, False, False, 1),
    Block(5,  72,  40, True,  False, 2), Block(5, 120,  40, True,  False, 1), Block(5, 120,  40, True,  False, 1),
    Block(3, 240,  80, False, True,  2), Block(3, 200,  80, False, True,  1),
    Block(3, 184,  80, False, True,  1), Block(3, 184,  80, False, True,  1),
    Block(3, 480, 112, True,  True,  1), Block(3, 672, 112, True,  True,  1),
    Block(5, 672, 160, True,  True,  2), Block(5, 960, 160, True,  True,  1), Block(5, 960, 160, True,  True,  1),
)
# fmt: on
WIDTH = 0.4


def _round_to_8(channels: float) -> int:
    """Nearest multiple of 8 that loses no more than a tenth (torchvision's ``_make_divisible``)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class _ConvNorm(nn.Sequential):  # type: ignore[misc]
    def __init__(self, channels: int, out: int, kernel: int, stride: int | tuple[int, int] = 1,
                 groups: int = 1, activation: type[nn.Module] = nn.Identity) -> None:  # fmt: skip
        super().__init__(
            nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out, eps=1e-3, momentum=0.01),
            activation(),
        )


class _SqueezeExcitation(nn.Module):  # type: ignore[misc]
    """Scales each channel by a function of the means over time and frequency (key names as in the mn04 weights)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _round_to_8(channels / 4)
        layers = nn.ModuleDict({"fc1": nn.Linear(channels, squeezed), "fc2": nn.Linear(squeezed, channels)})
        self.conc_se_layers = nn.ModuleList([layers])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layers = self.conc_se_layers[0]
        scale = torch.sigmoid(layers["fc2"](torch.relu(layers["fc1"](x.mean(dim=(2, 3))))))
        return x * scale[:, :, None, None]


class _InvertedResidual(nn.Module):  # type: ignore[misc]
    def __init__(self, channels: int, block: Block) -> None:
        super().__init__()
        expanded, out = _round_to_8(block.expanded * WIDTH), _round_to_8(block.out * WIDTH)
        activation = nn.Hardswish if block.hardswish else nn.ReLU
        layers: list[nn.Module] = []
        if expanded != channels:
            layers.append(_ConvNorm(channels, expanded, 1, activation=activation))
        layers.append(_ConvNorm(expanded, expanded, block.kernel, block.stride, groups=expanded, activation=activation))
        if block.squeeze:
            layers.append(_SqueezeExcitation(expanded))
        layers.append(_ConvNorm(expanded, out, 1))
        self.block = nn.Sequential(*layers)
        self.residual = block.stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block(x) if self.residual else self.block(x)


class Trunk(nn.Module):  # type: ignore[misc]
    """The convolutions: pictures [batch, 1, bins, frames] to embeddings [batch, `EMBEDDING_SIZE`].

    Parameters
    ----------
    stem_stride : tuple of int
        Stride of the first convolution over frequency and time; the original has (2, 2) at 100 frames a second.
    """

    def __init__(self, stem_stride: tuple[int, int] = (2, 2)) -> None:
        super().__init__()
        channels = [_round_to_8(16 * WIDTH), *(_round_to_8(block.out * WIDTH) for block in BLOCKS)]
        layers: list[nn.Module] = [_ConvNorm(1, channels[0], 3, stem_stride, activation=nn.Hardswish)]
        layers += [_InvertedResidual(before, block) for before, block in zip(channels, BLOCKS, strict=False)]
        layers.append(_ConvNorm(channels[-1], EMBEDDING_SIZE, 1, activation=nn.Hardswish))
        self.features = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.features(x).mean(dim=(2, 3))

    def load_mn04(self, path: Path) -> None:
        """Load the convolutions of mn04, which were trained on log-mel spectrograms of AudioSet."""
        start = "features."
        self.features.load_state_dict(
            {
                name.removeprefix(start): torch.from_numpy(value)
                for name, value in np.load(path).items()
                if name.startswith(start)
            }
        )


class GenreNetwork(nn.Module):  # type: ignore[misc]
    """Constant-Q spectrograms in decibels to 16 logits and an embedding; the ONNX file holds `forward`.

    Parameters
    ----------
    stem_stride : tuple of int
        (2, 1) keeps 43 frames a second after the first convolution; the mn04 weights were trained with 50.
    teacher_sizes : dict of str to int
        Size of each auxiliary head by the name of the teacher output that it predicts; used in training only.
    dropout : float
        Probability of dropping an element of the embedding before the heads.
    front : str
        ``cqt`` or ``mel``, as in `ccmusic.training.configuration.Configuration`.
    """

    def __init__(
        self,
        stem_stride: tuple[int, int] = (2, 1),
        teacher_sizes: dict[str, int] | None = None,
        dropout: float = 0.2,
        front: str = "cqt",
    ) -> None:
        super().__init__()
        self.trunk = Trunk(stem_stride)
        if front == "mel":
            # a part of the trunk, so that it has the learning rate of the trunk
            self.trunk.front = MelFront()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(EMBEDDING_SIZE, len(LABELS))
        self.teachers = nn.ModuleDict(
            {name: nn.Linear(EMBEDDING_SIZE, size) for name, size in (teacher_sizes or {}).items()}
        )

    def embed(self, cqt_db: torch.Tensor) -> torch.Tensor:
        """Embedding [batch, `EMBEDDING_SIZE`] of spectrograms [batch, 84, frames] in dB, -80 to 0."""
        # mn04 was trained on (ln(power) + 4.5) / 5, of which one unit is 21.7 dB: the same contrast for its filters
        picture = (cqt_db + SHIFT_DB) / UNIT_DB
        if hasattr(self.trunk, "front"):
            picture = self.trunk.front(picture)
        return self.trunk(picture[:, None])

    def forward(self, cqt_db: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [batch, 16] and embedding [batch, `EMBEDDING_SIZE`] of spectrograms [batch, 84, frames] in dB."""
        embedding = self.embed(cqt_db)
        return self.head(self.dropout(embedding)), embedding

    def forward_training(self, cqt_db: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Logits [batch, 16] and the estimated outputs of every teacher [batch, size of the output]."""
        embedding = self.dropout(self.embed(cqt_db))
        return self.head(embedding), {name: head(embedding) for name, head in self.teachers.items()}
