"""The plain NumPy interpreter: slow, obvious, and always installed. The second opinion on what ONNX Runtime answers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ccmusic.checkpoints.architectures.ops import Array, BatchNorm, Convolution, Ops

ERF_RANGE, ERF_STEPS = 6.0, 1 << 14
# linear interpolation at this step is off by at most step^2 / 8 = 7e-8, half of float32's own resolution near 1
_ERF_VALUES = np.array([math.erf(x) for x in np.linspace(-ERF_RANGE, ERF_RANGE, ERF_STEPS + 1)])
_ERF_RISES = np.append(np.diff(_ERF_VALUES), 0)


class NumpyOps(Ops[Array]):
    """Computes in float32 on arrays of the natural layouts."""

    def _conv(self, x: Array, convolution: Convolution) -> Array:
        weight, (down, right), stride = convolution.weight, convolution.padding, convolution.stride
        padded = np.pad(x, ((0, 0), (0, 0), (down, down), (right, right)))
        rows, columns = (1 + (padded.shape[2 + i] - weight.shape[2 + i]) // stride for i in range(2))
        depthwise = convolution.groups > 1  # the only grouping there is here: a filter for each channel
        total: Array = np.zeros((len(x), len(weight), rows * columns), np.float32)
        for i in range(weight.shape[2]):
            for j in range(weight.shape[3]):
                seen = padded[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride]
                seen = seen.reshape(*seen.shape[:2], rows * columns)
                total += weight[:, :, i, j] * seen if depthwise else weight[:, :, i, j] @ seen
        if convolution.bias is not None:
            total += convolution.bias[:, np.newaxis]
        return total.reshape(len(x), len(weight), rows, columns)

    def _batch_norm(self, x: Array, norm: BatchNorm) -> Array:
        scale = norm.weight / np.sqrt(norm.variance + np.float32(norm.epsilon))
        return np.asarray((x - norm.mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None])

    def _linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        rows = x.reshape(-1, x.shape[-1])  # one large product, where numpy would make one for each leading axis
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
        raised = np.exp(x - x.max(axis=-1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=-1, keepdims=True))

    def relu(self, x: Array) -> Array:
        return np.maximum(x, 0)

    def gelu(self, x: Array) -> Array:
        steps = (x.astype(np.float64) * math.sqrt(0.5) + ERF_RANGE) * (ERF_STEPS / 2 / ERF_RANGE)
        steps = np.clip(steps, 0, ERF_STEPS)
        whole = steps.astype(np.int64)  # looked up at once, where np.interp would search
        erf = (_ERF_VALUES[whole] + (steps - whole) * _ERF_RISES[whole]).astype(np.float32)
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
