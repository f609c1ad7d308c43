"""ConvNeXt-Base: depthwise 7 x 7 convolutions and perceptrons, in four stages.

Source: Liu et al., "A ConvNet for the 2020s" (2022); key names and results are torchvision's ``convnext_base``.
Outside of the convolutions the channels are the last axis, as layer norms and perceptrons need it.
"""

from __future__ import annotations

from ccmusic.checkpoints.architectures.ops import Ops, T

STAGES = ((128, 3), (256, 3), (512, 27), (1024, 3))
"""Channels and blocks of each stage."""
STEM = 4
KERNEL = 7
EPSILON = 1e-6

_CHANNELS_FIRST, _CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def trunk(ops: Ops[T], picture: T, width: float) -> T:
    """Features [batch, 1024 * width] of pictures [batch, 3, 224, 224]."""
    x, channels = picture, 3
    for i, (stage, blocks) in enumerate(STAGES):
        out = round(stage * width)
        if i == 0:
            x = ops.transpose(ops.conv(x, "features.0.0", channels, out, STEM, stride=STEM), _CHANNELS_LAST)
            x = ops.layer_norm(x, "features.0.1", out, EPSILON)
        else:
            x = ops.transpose(ops.layer_norm(x, f"features.{2 * i}.0", channels, EPSILON), _CHANNELS_FIRST)
            x = ops.transpose(ops.conv(x, f"features.{2 * i}.1", channels, out, 2, stride=2), _CHANNELS_LAST)
        channels = out
        for block in range(blocks):
            x = _block(ops, x, f"features.{2 * i + 1}.{block}", channels)
    return ops.layer_norm(ops.mean(x, (1, 2)), "classifier.0", channels, EPSILON)


def _block(ops: Ops[T], x: T, key: str, channels: int) -> T:
    y = ops.conv(
        ops.transpose(x, _CHANNELS_FIRST),
        f"{key}.block.0",
        channels,
        channels,
        KERNEL,
        padding=KERNEL // 2,
        groups=channels,
    )
    y = ops.layer_norm(ops.transpose(y, _CHANNELS_LAST), f"{key}.block.2", channels, EPSILON)
    return ops.add(x, ops.perceptron(y, f"{key}.block.3", f"{key}.block.5", channels, scale=f"{key}.layer_scale"))
