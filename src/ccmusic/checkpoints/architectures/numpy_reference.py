"""The operations in plain NumPy: slow, simple and always installed. ONNX Runtime's answers are compared with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ccmusic.checkpoints.architectures.ops import Array, BatchNorm, Convolution, Ops

ERF_RANGE, ERF_STEPS = 6.0, 1 << 14
# the error of linear interpolation is at most step^2 / 8 = 7e-8, half of float32's resolution near 1
_ERF_VALUES = np.array([math.erf(x) for x in np.linspace(-ERF_RANGE, ERF_RANGE, ERF_STEPS + 1)])
_ERF_RISES = np.append(np.diff(_ERF_VALUES), 0)


class NumpyOps(Ops[Array]):
    """Computes on float32 arrays."""

    def _conv(self, x: Array, convolution: Convolution) -> Array:
        weight, (down, right), stride = convolution.weight, convolution.padding, convolution.stride
        padded = np.pad(x, ((0, 0), (0, 0), (down, down), (right, right)))
        rows, columns = (1 + (padded.shape[2 + i] - weight.shape[2 + i]) // stride for i in range(2))
        depthwise = convolution.groups > 1  # no backbone has other groups than one for each channel
        total: Array = np.zeros((len(x), len(weight), rows * columns), np.float32)
        for i in range(weight.shape[2]):
            for j in range(weight.shape[3]):
                part = padded[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride]
                part = part.reshape(*part.shape[:2], rows * columns)
                total += weight[:, :, i, j] * part if depthwise else weight[:, :, i, j] @ part
        if convolution.bias is not None:
            total += convolution.bias[:, np.newaxis]
        return total.reshape(len(x), len(weight), rows, columns)

    def _batch_norm(self, x: Array, norm: BatchNorm) -> Array:
        scale = norm.weight / np.sqrt(norm.variance + np.float32(norm.epsilon))
        return np.asarray((x - norm.mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None])

    def _linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        rows = x.reshape(-1, x.shape[-1])  # one large product is faster than one for each leading axis
        product: Array = (rows @ weight.T).reshape(*x.shape[:-1], len(weight))
        return product if bias is None else product + bias

    def _layer_norm(self, x: Array, weight: Array, bias: Array, epsilon: float) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        answer: Array = centred / np.sqrt(variance + np.float32(epsilon)) * weight + bias
        return answer

    def _matmul(self, x: Array, y: Array) -> Array:
        return np.asarray(x @ y)

    def _softmax(self, x: Array) -> Array:
        exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))

    def relu(self, x: Array) -> Array:
        return np.maximum(x, 0)

    def gelu(self, x: Array) -> Array:
        steps = (x.astype(np.float64) * math.sqrt(0.5) + ERF_RANGE) * (ERF_STEPS / 2 / ERF_RANGE)
        steps = np.clip(steps, 0, ERF_STEPS)
        index = steps.astype(np.int64)  # direct look-up; np.interp would search
        erf = (_ERF_VALUES[index] + (steps - index) * _ERF_RISES[index]).astype(np.float32)
        return np.asarray(np.float32(0.5) * x * (1 + erf))

    def add(self, x: Array, y: Array) -> Array:
        return x + y

    def add_constant(self, x: Array, constant: Array) -> Array:
        return x + constant

    def max_pool(self, x: Array, kernel: int, stride: int) -> Array:
        squares = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(2, 3))
        return np.asarray(squares[:, :, ::stride, ::stride].max(axis=(4, 5)))

    def average_pool(self, x: Array, kernel: int) -> Array:
        around = kernel // 2
        padded = np.pad(x, ((0, 0), (0, 0), (around, around), (around, around)))
        squares = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
        return np.asarray(squares.mean(axis=(4, 5)))

    def mean(self, x: Array, axes: tuple[int, ...]) -> Array:
        return np.asarray(x.mean(axis=axes))

    def concatenate(self, parts: Sequence[Array]) -> Array:
        return np.concatenate(parts, axis=1)

    def embed(self, x: Array, token: Array, positions: Array) -> Array:
        return np.concatenate([np.broadcast_to(token, (len(x), 1, token.size)), x], axis=1) + positions

    def first(self, x: Array) -> Array:
        return x[:, 0]

    def rearrange(self, x: Array, order: np.ndarray) -> Array:
        return x[:, order]

    def reshape(self, x: Array, shape: Sequence[int]) -> Array:
        return x.reshape(len(x), *shape)

    def transpose(self, x: Array, axes: Sequence[int]) -> Array:
        return x.transpose(axes)
