"""The operations in eager torch, the framework of the checkpoints, to compare with ONNX Runtime.

This is the only module here that imports torch. Import it late, and only if torch is installed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from ccmusic.checkpoints.architectures.ops import Array, BatchNorm, Convolution, Ops


class TorchOps(Ops[torch.Tensor]):
    """Computes on float32 tensors; use it within ``torch.inference_mode()``."""

    def _conv(self, x: torch.Tensor, convolution: Convolution) -> torch.Tensor:
        bias = None if convolution.bias is None else _tensor(convolution.bias)
        return functional.conv2d(
            x, _tensor(convolution.weight), bias, convolution.stride, convolution.padding, groups=convolution.groups
        )

    def _batch_norm(self, x: torch.Tensor, norm: BatchNorm) -> torch.Tensor:
        mean, variance, weight, bias = map(_tensor, (norm.mean, norm.variance, norm.weight, norm.bias))
        return functional.batch_norm(x, mean, variance, weight, bias, eps=norm.epsilon)

    def _linear(self, x: torch.Tensor, weight: Array, bias: Array | None) -> torch.Tensor:
        return functional.linear(x, _tensor(weight), None if bias is None else _tensor(bias))

    def _layer_norm(self, x: torch.Tensor, weight: Array, bias: Array, epsilon: float) -> torch.Tensor:
        return functional.layer_norm(x, weight.shape, _tensor(weight), _tensor(bias), eps=epsilon)

    def _matmul(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.matmul(x, y)

    def _softmax(self, x: torch.Tensor) -> torch.Tensor:
        return functional.softmax(x, dim=-1)

    def relu(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x)

    def gelu(self, x: torch.Tensor) -> torch.Tensor:
        return functional.gelu(x)

    def add(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y

    def add_constant(self, x: torch.Tensor, constant: Array) -> torch.Tensor:
        return x + _tensor(constant)

    def max_pool(self, x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
        return functional.max_pool2d(x, kernel, stride)

    def average_pool(self, x: torch.Tensor, kernel: int) -> torch.Tensor:
        return functional.avg_pool2d(x, kernel, stride=1, padding=kernel // 2)

    def mean(self, x: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        return x.mean(dim=axes)

    def concatenate(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat(list(parts), dim=1)

    def embed(self, x: torch.Tensor, token: Array, positions: Array) -> torch.Tensor:
        return torch.cat([_tensor(token).expand(x.shape[0], 1, -1), x], dim=1) + _tensor(positions)

    def first(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0]

    def rearrange(self, x: torch.Tensor, order: np.ndarray) -> torch.Tensor:
        return x[:, _tensor(order)]

    def reshape(self, x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        return x.reshape(x.shape[0], *shape)

    def transpose(self, x: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
        return x.permute(*axes)


def _tensor(array: Array) -> torch.Tensor:
    return torch.tensor(array)  # a copy: torch warns about arrays in read-only memory
