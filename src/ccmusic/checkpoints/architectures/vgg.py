"""VGG19-BN: sixteen 3 x 3 convolutions with batch normalisation; the picture is halved five times.

Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition" (2015),
configuration E; key names and results are torchvision's ``vgg19_bn``.
"""

from __future__ import annotations

from ccmusic.checkpoints.architectures.ops import Ops, T

STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Channels and convolutions of each stage; a 2 x 2 maximum pooling follows each."""


def trunk(ops: Ops[T], picture: T, width: float) -> T:
    """Features [batch, 512 * 7 * 7 * width] of pictures [batch, 3, 224, 224]."""
    x, channels, layer = picture, 3, 0
    for stage, convolutions in STAGES:
        out = round(stage * width)
        for _ in range(convolutions):
            x = ops.conv_norm(
                x, f"features.{layer}", f"features.{layer + 1}", channels, out, kernel=3, padding=1, bias=True
            )
            x = ops.relu(x)
            channels, layer = out, layer + 3  # convolution, normalisation, ReLU
        x, layer = ops.max_pool(x, kernel=2, stride=2), layer + 1
    return ops.reshape(x, (channels * 7 * 7,))  # at 224 x 224 torchvision's adaptive pooling to 7 x 7 has no effect
