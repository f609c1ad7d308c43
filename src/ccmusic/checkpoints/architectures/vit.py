"""ViT-B/16: patches of 16 x 16 as tokens, through twelve encoder layers of self-attention.

Source: Dosovitskiy et al., "An image is worth 16 x 16 words: transformers for image recognition at scale" (2021); key
names and results are torchvision's ``vit_b_16``.
"""

from __future__ import annotations

from ccmusic.checkpoints.architectures.ops import Ops, T

LAYERS, HEADS, CHANNELS = 12, 12, 768
PATCH, PATCHES = 16, 14 * 14
EPSILON = 1e-6


def trunk(ops: Ops[T], picture: T, width: float) -> T:
    """Features [batch, 768 * width] of pictures [batch, 3, 224, 224]."""
    channels, length = round(CHANNELS * width), 1 + PATCHES
    token = ops.parameter("class_token", (1, 1, channels))
    positions = ops.parameter("encoder.pos_embedding", (1, length, channels))
    x = ops.conv(picture, "conv_proj", 3, channels, PATCH, stride=PATCH)
    x = ops.embed(ops.transpose(ops.reshape(x, (channels, PATCHES)), (0, 2, 1)), token[0, 0], positions[0])
    for layer in range(LAYERS):
        key = f"encoder.layers.encoder_layer_{layer}"
        inward = f"{key}.self_attention.in_proj_weight", f"{key}.self_attention.in_proj_bias"
        y = ops.layer_norm(x, f"{key}.ln_1", channels, EPSILON)
        x = ops.add(x, ops.attention(y, inward, f"{key}.self_attention.out_proj", (length, channels), HEADS))
        y = ops.layer_norm(x, f"{key}.ln_2", channels, EPSILON)
        x = ops.add(x, ops.perceptron(y, f"{key}.mlp.0", f"{key}.mlp.3", channels))
    # rows are normalised independently, and only the class token's is needed
    return ops.layer_norm(ops.first(x), "encoder.ln", channels, EPSILON)
