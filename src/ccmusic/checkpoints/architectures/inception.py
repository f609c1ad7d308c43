"""Inception-v3: blocks of parallel convolutions; large kernels are split into a row and a column.

Source: Szegedy et al., "Rethinking the Inception architecture for computer vision" (2016); key names and results are
torchvision's ``inception_v3`` without its rescaling of the input, at ccMusic's 224 x 224 instead of 299 x 299.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ccmusic.checkpoints.architectures.ops import Ops, Pair, T

EPSILON = 1e-3
AUXILIARY_LABELS = 1000
"""Outputs of the auxiliary classifier, which only training uses; ccMusic keeps ImageNet's 1000."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution with batch normalisation and ReLU; without a stride, and if padded, the size stays the same."""

    name: str
    out: int
    kernel: int | Pair
    stride: int = 1
    padded: bool = True

    @property
    def padding(self) -> Pair:
        rows, columns = (self.kernel, self.kernel) if isinstance(self.kernel, int) else self.kernel
        return (rows // 2, columns // 2) if self.padded and self.stride == 1 else (0, 0)


@dataclass(frozen=True, slots=True)
class Branch:
    """A parallel branch of a block: optional pooling, a chain of layers, and optionally two parallel last layers."""

    layers: tuple[Layer, ...] = ()
    ends: tuple[Layer, ...] = ()
    pool: Literal["average", "max"] | None = None


Block = tuple[Branch, ...]
ROW, COLUMN = (1, 7), (7, 1)


def _chain(name: str, *layers: tuple[int, int | Pair], last_stride: int = 1) -> tuple[Layer, ...]:
    """Layers ``name_1``, ``name_2`` and so on, each given as outputs and kernel."""
    last = len(layers)
    return tuple(
        Layer(f"{name}_{i}", out, kernel, last_stride if i == last else 1) for i, (out, kernel) in enumerate(layers, 1)
    )


def _plain(pooled: int) -> Block:
    return (
        Branch((Layer("branch1x1", 64, 1),)),
        Branch(_chain("branch5x5", (48, 1), (64, 5))),
        Branch(_chain("branch3x3dbl", (64, 1), (96, 3), (96, 3))),
        Branch((Layer("branch_pool", pooled, 1),), pool="average"),
    )


def _factorised(inner: int) -> Block:
    return (
        Branch((Layer("branch1x1", 192, 1),)),
        Branch(_chain("branch7x7", (inner, 1), (inner, ROW), (192, COLUMN))),
        Branch(_chain("branch7x7dbl", (inner, 1), (inner, COLUMN), (inner, ROW), (inner, COLUMN), (192, ROW))),
        Branch((Layer("branch_pool", 192, 1),), pool="average"),
    )


def _ends(name: str) -> tuple[Layer, Layer]:
    return Layer(f"{name}a", 384, (1, 3)), Layer(f"{name}b", 384, (3, 1))


_REDUCED: Block = (
    Branch((Layer("branch3x3", 384, 3, stride=2),)),
    Branch(_chain("branch3x3dbl", (64, 1), (96, 3), (96, 3), last_stride=2)),
    Branch(pool="max"),
)
_REDUCED_AGAIN: Block = (
    Branch(_chain("branch3x3", (192, 1), (320, 3), last_stride=2)),
    Branch(_chain("branch7x7x3", (192, 1), (192, ROW), (192, COLUMN), (192, 3), last_stride=2)),
    Branch(pool="max"),
)
_EXPANDED: Block = (
    Branch((Layer("branch1x1", 320, 1),)),
    Branch(_chain("branch3x3", (384, 1)), _ends("branch3x3_2")),
    Branch(_chain("branch3x3dbl", (448, 1), (384, 3)), _ends("branch3x3dbl_3")),
    Branch((Layer("branch_pool", 192, 1),), pool="average"),
)

STEM: tuple[tuple[Layer, ...], ...] = (
    (
        Layer("Conv2d_1a_3x3", 32, 3, stride=2),
        Layer("Conv2d_2a_3x3", 32, 3, padded=False),
        Layer("Conv2d_2b_3x3", 64, 3),
    ),
    (Layer("Conv2d_3b_1x1", 80, 1), Layer("Conv2d_4a_3x3", 192, 3, padded=False)),
)
"""Two chains; a 3 x 3 maximum pooling with stride 2 follows each."""
BLOCKS: dict[str, Block] = {
    "Mixed_5b": _plain(32),
    "Mixed_5c": _plain(64),
    "Mixed_5d": _plain(64),
    "Mixed_6a": _REDUCED,
    "Mixed_6b": _factorised(128),
    "Mixed_6c": _factorised(160),
    "Mixed_6d": _factorised(160),
    "Mixed_6e": _factorised(192),
    "Mixed_7a": _REDUCED_AGAIN,
    "Mixed_7b": _EXPANDED,
    "Mixed_7c": _EXPANDED,
}
"""The auxiliary classifier is attached to Mixed_6e."""


def trunk(ops: Ops[T], picture: T, width: float) -> T:
    """Features [batch, 2048 * width] of pictures [batch, 3, 224, 224]."""
    x, channels = picture, 3
    for layers in STEM:
        x, channels = _layers(ops, x, "", channels, layers, width)
        x = ops.max_pool(x, kernel=3, stride=2)
    for name, branches in BLOCKS.items():
        x, channels = _block(ops, x, f"{name}.", channels, branches, width)
        if name == "Mixed_6e":
            _auxiliary(ops, channels, width)
    return ops.mean(x, (2, 3))


def _block(ops: Ops[T], x: T, prefix: str, channels: int, branches: Block, width: float) -> tuple[T, int]:
    parts, outs = [], []
    for branch in branches:
        y = x
        if branch.pool == "average":
            y = ops.average_pool(y, kernel=3)
        elif branch.pool == "max":
            y = ops.max_pool(y, kernel=3, stride=2)
        y, inner = _layers(ops, y, prefix, channels, branch.layers, width)
        ends = [_layers(ops, y, prefix, inner, [end], width) for end in branch.ends] or [(y, inner)]
        parts += [end for end, _ in ends]
        outs += [out for _, out in ends]
    return ops.concatenate(parts), sum(outs)


def _layers(ops: Ops[T], x: T, prefix: str, channels: int, layers: Sequence[Layer], width: float) -> tuple[T, int]:
    for layer in layers:
        key, out = f"{prefix}{layer.name}", round(layer.out * width)
        x = ops.relu(
            ops.conv_norm(
                x,
                f"{key}.conv",
                f"{key}.bn",
                channels,
                out,
                layer.kernel,
                layer.stride,
                layer.padding,
                epsilon=EPSILON,
            )
        )
        channels = out
    return x, channels


def _auxiliary(ops: Ops[T], channels: int, width: float) -> None:
    """Register the parameters of the auxiliary classifier, which is not computed."""
    inner, out = round(128 * width), round(768 * width)
    for layer, shape in (("conv0", (inner, channels, 1, 1)), ("conv1", (out, inner, 5, 5))):
        ops.training_only(f"AuxLogits.{layer}.conv.weight", shape)
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            ops.training_only(f"AuxLogits.{layer}.bn.{leaf}", shape[:1])
        ops.training_only(f"AuxLogits.{layer}.bn.num_batches_tracked", (), "int64")
    ops.training_only("AuxLogits.fc.weight", (AUXILIARY_LABELS, out))
    ops.training_only("AuxLogits.fc.bias", (AUXILIARY_LABELS,))
