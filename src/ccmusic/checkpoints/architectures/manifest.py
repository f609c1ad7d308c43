"""The operations as a list of the parameters that they need; nothing is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from ccmusic.checkpoints.architectures.ops import Array, BatchNorm, Convolution, Ops


@dataclass(frozen=True, slots=True)
class Expected:
    """The parameter that a checkpoint must have under one key.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
    values : np.ndarray or None
        The values, where the architecture determines them.
    optional : bool
        Whether it may be missing, because only training uses it.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    values: np.ndarray | None = field(default=None, compare=False)
    optional: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


class ManifestOps(Ops[None]):
    """Collects key -> `Expected` in `expected`. Values are None; parameters are zeros that take no memory."""

    def __init__(self) -> None:
        super().__init__({})
        self.expected: dict[str, Expected] = {}

    def parameter(self, key: str, shape: tuple[int, ...], dtype: str = "float32") -> Array:
        self.expected[key] = Expected(shape, dtype)
        return np.broadcast_to(np.zeros((), dtype), shape)

    def known(self, key: str, values: np.ndarray) -> None:
        self.expected[key] = Expected(values.shape, str(values.dtype), values)

    def training_only(self, key: str, shape: tuple[int, ...], dtype: str = "float32") -> None:
        self.expected[key] = Expected(shape, dtype, optional=True)

    def linear(self, x: None, key: str, channels: int, out: int, bias: bool = True, scale: str | None = None) -> None:
        self.parameter(f"{key}.weight", (out, channels))
        if bias:
            self.parameter(f"{key}.bias", (out,))
        if scale is not None:  # not multiplied, because the product would take memory
            self.parameter(scale, (out, 1, 1))

    def attention(self, x: None, inward: tuple[str, str], outward: str, shape: Sequence[int], heads: int,
                  bias: Array | None = None) -> None:  # fmt: skip
        channels = shape[-1]
        self.parameter(inward[0], (3 * channels, channels))
        self.parameter(inward[1], (3 * channels,))
        self.linear(None, outward, channels, channels)

    def _conv(self, x: None, convolution: Convolution) -> None: ...

    def _batch_norm(self, x: None, norm: BatchNorm) -> None: ...

    def _linear(self, x: None, weight: Array, bias: Array | None) -> None: ...

    def _layer_norm(self, x: None, weight: Array, bias: Array, epsilon: float) -> None: ...

    def _matmul(self, x: None, y: None) -> None: ...

    def _softmax(self, x: None) -> None: ...

    def relu(self, x: None) -> None: ...

    def gelu(self, x: None) -> None: ...

    def add(self, x: None, y: None) -> None: ...

    def add_constant(self, x: None, constant: Array) -> None: ...

    def max_pool(self, x: None, kernel: int, stride: int) -> None: ...

    def average_pool(self, x: None, kernel: int) -> None: ...

    def mean(self, x: None, axes: tuple[int, ...]) -> None: ...

    def concatenate(self, parts: Sequence[None]) -> None: ...

    def embed(self, x: None, token: Array, positions: Array) -> None: ...

    def first(self, x: None) -> None: ...

    def rearrange(self, x: None, order: np.ndarray) -> None: ...

    def reshape(self, x: None, shape: Sequence[int]) -> None: ...

    def transpose(self, x: None, axes: Sequence[int]) -> None: ...
