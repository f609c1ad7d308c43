"""Computed weights and pictures, for networks whose outputs are compared between programs."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

SHAPE = (3, 224, 224)


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers from -1 to 1 (float32) that depend on the name alone, from a stream that numpy keeps fixed."""
    size = int(np.prod(shape, dtype=np.int64))
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw((size + 1) // 2).view(np.uint32)[:size]
    return ((raw >> 8).astype(np.float32) * np.float32(2**-23) - 1).reshape(shape)


def parameter(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter by its key in torchvision, scaled so that signals neither explode nor vanish."""
    leaf = key.rsplit(".", 1)[-1]
    values = uniform(key, shape)
    if leaf == "running_var":
        return 1 + np.float32(0.5) * values
    if leaf == "layer_scale":
        return np.float32(0.5) + np.float32(0.25) * values
    if leaf.endswith("weight") and len(shape) >= 2:
        # variance 2 / fan-in, which a ReLU halves
        return values * np.float32(np.sqrt(6 / np.prod(shape[1:])))
    if leaf == "weight":  # of a normalisation
        return 1 + np.float32(0.25) * values
    if leaf in {"class_token", "pos_embedding", "relative_position_bias_table"}:
        return values
    return np.float32(0.2) * values  # biases and running means


def state(expected: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Parameters for a whole manifest; values that the architecture determines are correct."""
    return {
        key: (parameter(key, entry.shape) if entry.dtype == "float32" else np.zeros(entry.shape, entry.dtype))
        if entry.values is None
        else entry.values
        for key, entry in expected.items()
    }


def pictures() -> np.ndarray:
    """Two pictures [2, 3, 224, 224] from -1 to 1: a coloured wave, and noise."""
    y, x = np.mgrid[0:224, 0:224].astype(np.float32) / 224
    wave = np.stack([np.sin(6 * x + 3 * y + c) * np.cos((5 + c) * y) for c in range(3)]).astype(np.float32)
    return np.stack([wave, uniform("picture", SHAPE)])
