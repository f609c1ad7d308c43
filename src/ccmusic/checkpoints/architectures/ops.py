"""The operations of which the backbones consist, so that each backbone is written once.

A backbone is a function of an `Ops` and a picture. The type of the picture depends on the implementation: an array for
`NumpyOps`, a tensor for `TorchOps`, a value's name in a graph for `OnnxOps`, None for `ManifestOps`, which only
collects the parameters. The methods of `Ops` look up parameters by torchvision's keys and pass arrays to its abstract
methods; an implementation defines only those. The batch is always the first axis, of any size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ccmusic.errors import ModelRefused

T = TypeVar("T")
Array = NDArray[np.float32]
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Convolution:
    """A 2-D convolution: weight [out, channels / groups, rows, columns], bias [out] or None, zero padding."""

    weight: Array
    bias: Array | None
    stride: int
    padding: Pair
    groups: int


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """A batch normalisation in evaluation mode, all arrays [channels]."""

    weight: Array
    bias: Array
    mean: Array
    variance: Array
    epsilon: float


class Ops(ABC, Generic[T]):
    """The operations; they take and return values of the implementation's own type `T`.

    Parameters
    ----------
    state : Mapping of str to np.ndarray
        Parameters by torchvision's keys.
    """

    def __init__(self, state: Mapping[str, Array]) -> None:
        self._state = state

    def parameter(self, key: str, shape: tuple[int, ...], dtype: str = "float32") -> Array:
        """One parameter of the checkpoint.

        Raises
        ------
        ModelRefused
            It is missing, or has another shape or type. `ccmusic.checkpoints.state_dict.check` reports all such keys.
        """
        try:
            value = self._state[key]
        except KeyError:
            raise ModelRefused(f"the checkpoint has no {key!r}; check it against the architecture's manifest") from None
        if value.shape != shape or value.dtype != dtype:
            raise ModelRefused(f"{key!r} is {value.dtype} {list(value.shape)}, expected {dtype} {list(shape)}")
        return value

    def known(self, key: str, values: np.ndarray) -> None:
        """Compare a parameter that the architecture determines with its only valid values.

        Raises
        ------
        ModelRefused
            It is missing or differs, so torchvision would compute something else from it.
        """
        if not np.array_equal(self.parameter(key, values.shape, str(values.dtype)), values):
            raise ModelRefused(f"{key!r} differs from this architecture's")

    def training_only(self, key: str, shape: tuple[int, ...], dtype: str = "float32") -> None:
        """Register a parameter that only training uses; a checkpoint may omit it."""

    def conv(self, x: T, key: str, channels: int, out: int, kernel: int | Pair, stride: int = 1,
             padding: int | Pair = 0, groups: int = 1) -> T:  # fmt: skip
        """Convolution with bias: [batch, channels, rows, columns] to [batch, out, ...]."""
        return self._conv(x, self._convolution(key, channels, out, kernel, stride, padding, groups, bias=True))

    def conv_norm(self, x: T, conv_key: str, norm_key: str, channels: int, out: int, kernel: int | Pair,
                  stride: int = 1, padding: int | Pair = 0, bias: bool = False, epsilon: float = 1e-5,
                  ) -> T:  # fmt: skip
        """Convolution and batch normalisation, which an implementation may fold into one."""
        convolution = self._convolution(conv_key, channels, out, kernel, stride, padding, 1, bias=bias)
        norm = BatchNorm(
            weight=self.parameter(f"{norm_key}.weight", (out,)),
            bias=self.parameter(f"{norm_key}.bias", (out,)),
            mean=self.parameter(f"{norm_key}.running_mean", (out,)),
            variance=self.parameter(f"{norm_key}.running_var", (out,)),
            epsilon=epsilon,
        )
        self.training_only(f"{norm_key}.num_batches_tracked", (), "int64")
        return self._conv_norm(x, convolution, norm)

    def linear(self, x: T, key: str, channels: int, out: int, bias: bool = True, scale: str | None = None) -> T:
        """Matrix product over the last axis; `scale` is the key of factors [out, 1, 1] for the outputs."""
        weight = self.parameter(f"{key}.weight", (out, channels))
        offset = self.parameter(f"{key}.bias", (out,)) if bias else None
        if scale is not None:
            factor = self.parameter(scale, (out, 1, 1))[:, 0]
            weight, offset = weight * factor, None if offset is None else offset * factor[:, 0]
        return self._linear(x, weight, offset)

    def perceptron(self, x: T, inward: str, outward: str, channels: int, scale: str | None = None) -> T:
        """Linear layer to four times as many channels, GELU, and linear layer back; `scale` as for `linear`."""
        return self.linear(
            self.gelu(self.linear(x, inward, channels, 4 * channels)), outward, 4 * channels, channels, scale=scale
        )

    def layer_norm(self, x: T, key: str, channels: int, epsilon: float) -> T:
        """Normalisation over the last axis."""
        weight, bias = (self.parameter(f"{key}.{part}", (channels,)) for part in ("weight", "bias"))
        return self._layer_norm(x, weight, bias, epsilon)

    def attention(self, x: T, inward: tuple[str, str], outward: str, shape: Sequence[int], heads: int,
                  bias: Array | None = None) -> T:  # fmt: skip
        """Multi-head self-attention over the last but one axis.

        Parameters
        ----------
        x : T [shape=(batch, *shape)]
        inward : tuple of str
            Keys of weight [3 * channels, channels] and bias of the projection to queries, keys and values.
        outward : str
            Key of the projection back.
        shape : sequence of int
            All axes but the batch; the last two are length and channels.
        heads : int
        bias : np.ndarray or None [broadcast to (*groups, heads, length, length)]
            Added to the scores, before the softmax.
        """
        *groups, length, channels = shape
        size = channels // heads
        weight = self.parameter(inward[0], (3 * channels, channels))
        offset = self.parameter(inward[1], (3 * channels,))
        first = len(groups) + 1  # the axis of the length, before the heads are moved in front of it
        batch = tuple(range(first))
        parts = []
        for i, factor in enumerate((np.float32(size**-0.5), None, None)):
            part = slice(i * channels, (i + 1) * channels)
            w, b = (weight[part], offset[part]) if factor is None else (weight[part] * factor, offset[part] * factor)
            parts.append(self.reshape(self._linear(x, w, b), (*groups, length, heads, size)))
        queries, values = (self.transpose(parts[i], (*batch, first + 1, first, first + 2)) for i in (0, 2))
        keys = self.transpose(parts[1], (*batch, first + 1, first + 2, first))
        scores = self._matmul(queries, keys)
        if bias is not None:
            scores = self.add_constant(scores, bias)
        mixed = self._matmul(self._softmax(scores), values)
        joined = self.reshape(self.transpose(mixed, (*batch, first + 1, first, first + 2)), (*groups, length, channels))
        return self.linear(joined, outward, channels, channels)

    def _convolution(self, key: str, channels: int, out: int, kernel: int | Pair, stride: int, padding: int | Pair,
                     groups: int, *, bias: bool) -> Convolution:  # fmt: skip
        weight = self.parameter(f"{key}.weight", (out, channels // groups, *_pair(kernel)))
        offset = self.parameter(f"{key}.bias", (out,)) if bias else None
        return Convolution(weight, offset, stride, _pair(padding), groups)

    def _conv_norm(self, x: T, convolution: Convolution, norm: BatchNorm) -> T:
        return self._batch_norm(self._conv(x, convolution), norm)

    @abstractmethod
    def _conv(self, x: T, convolution: Convolution) -> T: ...

    @abstractmethod
    def _batch_norm(self, x: T, norm: BatchNorm) -> T: ...

    @abstractmethod
    def _linear(self, x: T, weight: Array, bias: Array | None) -> T:
        """Weight [out, channels], as in torch."""

    @abstractmethod
    def _layer_norm(self, x: T, weight: Array, bias: Array, epsilon: float) -> T: ...

    @abstractmethod
    def _matmul(self, x: T, y: T) -> T: ...

    @abstractmethod
    def _softmax(self, x: T) -> T:
        """Over the last axis."""

    @abstractmethod
    def relu(self, x: T) -> T:
        """Negative values become 0."""

    @abstractmethod
    def gelu(self, x: T) -> T:
        """The exact Gaussian error linear unit, x * Phi(x)."""

    @abstractmethod
    def add(self, x: T, y: T) -> T:
        """Sum of two values of the same shape."""

    @abstractmethod
    def add_constant(self, x: T, constant: Array) -> T:
        """Sum with an array that is the same for the whole batch."""

    @abstractmethod
    def max_pool(self, x: T, kernel: int, stride: int) -> T:
        """Maximum over squares, without padding."""

    @abstractmethod
    def average_pool(self, x: T, kernel: int) -> T:
        """Mean over squares around each point, stride 1; the zero padding counts in the mean."""

    @abstractmethod
    def mean(self, x: T, axes: tuple[int, ...]) -> T:
        """Mean over these axes, which are removed."""

    @abstractmethod
    def concatenate(self, parts: Sequence[T]) -> T:
        """Concatenation along the channels of [batch, channels, rows, columns]."""

    @abstractmethod
    def embed(self, x: T, token: Array, positions: Array) -> T:
        """Put one row [channels] before [batch, length, channels] and add positions [1 + length, channels]."""

    @abstractmethod
    def first(self, x: T) -> T:
        """The first row of [batch, length, channels], as [batch, channels]."""

    @abstractmethod
    def rearrange(self, x: T, order: np.ndarray) -> T:
        """Rows of [batch, length, channels] in this order."""

    @abstractmethod
    def reshape(self, x: T, shape: Sequence[int]) -> T:
        """Another shape for all axes but the batch."""

    @abstractmethod
    def transpose(self, x: T, axes: Sequence[int]) -> T:
        """Another order of all axes; the batch stays the first."""


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value
