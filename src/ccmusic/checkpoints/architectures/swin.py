"""Swin-B: self-attention within windows of 7 x 7; every second block shifts the windows by half their size.

Source: Liu et al., "Swin Transformer: hierarchical vision transformer using shifted windows" (2021); key names and
results are torchvision's ``swin_b``. Shifting a picture and cutting it into windows is one fixed permutation of its
points, and so is the merging of squares of four between stages.
"""

from __future__ import annotations

import numpy as np

from ccmusic.checkpoints.architectures.ops import Array, Ops, T

STAGES = ((2, 4), (2, 8), (18, 16), (2, 32))
"""Blocks and heads of each stage; the channels double from one to the next."""
CHANNELS = 128
PATCH = 4
SIDE = 224 // PATCH
WINDOW = 7
EPSILON = 1e-5
MASKED = -100.0
"""torchvision's score for a pair of points that became neighbours only by the shift, from opposite edges."""


def trunk(ops: Ops[T], picture: T, width: float) -> T:
    """Features [batch, 1024 * width] of pictures [batch, 3, 224, 224]."""
    channels, side = round(CHANNELS * width), SIDE
    x = ops.conv(picture, "features.0.0", 3, channels, PATCH, stride=PATCH)
    x = ops.transpose(ops.reshape(x, (channels, side * side)), (0, 2, 1))
    x = ops.layer_norm(x, "features.0.2", channels, EPSILON)
    for i, (blocks, heads) in enumerate(STAGES):
        if i > 0:
            side //= 2
            x = _merge(ops, x, f"features.{2 * i}", channels, side)
            channels *= 2
        for block in range(blocks):
            # no shift when one window is the whole picture
            shift = WINDOW // 2 if block % 2 == 1 and side > WINDOW else 0
            x = _block(ops, x, f"features.{2 * i + 1}.{block}", channels, side, heads, shift)
    return ops.mean(ops.layer_norm(x, "norm", channels, EPSILON), (1,))


def _merge(ops: Ops[T], x: T, key: str, channels: int, side: int) -> T:
    rows = np.arange(4 * side * side).reshape(side, 2, side, 2)
    squares = rows.transpose(0, 2, 3, 1)  # down first, then to the right
    x = ops.reshape(ops.rearrange(x, squares.ravel()), (side * side, 4 * channels))
    x = ops.layer_norm(x, f"{key}.norm", 4 * channels, EPSILON)
    return ops.linear(x, f"{key}.reduction", 4 * channels, 2 * channels, bias=False)


def _block(ops: Ops[T], x: T, key: str, channels: int, side: int, heads: int, shift: int) -> T:
    order = _windows(np.arange(side * side).reshape(side, side), shift)
    inward = f"{key}.attn.qkv.weight", f"{key}.attn.qkv.bias"
    y = ops.layer_norm(x, f"{key}.norm1", channels, EPSILON)
    y = ops.reshape(ops.rearrange(y, order.ravel()), (*order.shape, channels))
    bias = _position_bias(ops, f"{key}.attn", side, heads, shift)
    y = ops.attention(y, inward, f"{key}.attn.proj", (*order.shape, channels), heads, bias)
    y = ops.rearrange(ops.reshape(y, (side * side, channels)), np.argsort(order.ravel()))
    x = ops.add(x, y)
    y = ops.layer_norm(x, f"{key}.norm2", channels, EPSILON)
    return ops.add(x, ops.perceptron(y, f"{key}.mlp.0", f"{key}.mlp.3", channels))


def _windows(picture: np.ndarray, shift: int) -> np.ndarray:
    """A square [side, side], shifted up and to the left, as windows [n_windows, WINDOW * WINDOW]."""
    n = len(picture) // WINDOW
    shifted = np.roll(picture, (-shift, -shift), axis=(0, 1))
    return shifted.reshape(n, WINDOW, n, WINDOW).transpose(0, 2, 1, 3).reshape(n * n, WINDOW * WINDOW)


def _position_bias(ops: Ops[T], key: str, side: int, heads: int, shift: int) -> Array:
    """The term added to the scores: [heads, 49, 49], or with the mask of a shift [n_windows, heads, 49, 49]."""
    table = ops.parameter(f"{key}.relative_position_bias_table", ((2 * WINDOW - 1) ** 2, heads))
    row, column = np.divmod(np.arange(WINDOW * WINDOW), WINDOW)
    down, right = (place[:, None] - place + WINDOW - 1 for place in (row, column))
    index = down * (2 * WINDOW - 1) + right
    ops.known(f"{key}.relative_position_index", index.ravel())
    bias: Array = table[index].transpose(2, 0, 1)
    if shift == 0:
        return bias
    # the last windows of a shifted picture join opposite edges: number the three strips that rows and columns come from
    strip = np.searchsorted([side - WINDOW, side - shift], np.arange(side), side="right")
    region = _windows(3 * strip[:, None] + strip, shift=0)
    mask = np.where(region[:, :, None] == region[:, None, :], 0, np.float32(MASKED))
    return bias + mask[:, None].astype(np.float32)
